//! A short run of `cargo xtask insn-diff`: the evaluator against the host's own CPU.

use testkit::compare::{Plan, run};
use testkit::evaluator::Evaluator;
use testkit::native::Unavailable;

#[test]
fn the_evaluator_does_what_the_host_does() {
    let plan = Plan {
        seed: 286,
        first: 0,
        count: 150_000,
        keep: |_, _| true,
        filter: String::new(),
        options: String::new(),
        show: 5,
    };
    match run(&plan, &mut Evaluator::new()) {
        Ok(report) => {
            for text in &report.shown {
                println!("{text}");
            }
            assert_eq!(report.mismatches, 0, "{:?}", report.by_code);
        }
        Err(Unavailable::Host) => println!("skipped: {}", Unavailable::Host),
        Err(why) => println!("skipped: no native oracle: {why}"),
    }
}

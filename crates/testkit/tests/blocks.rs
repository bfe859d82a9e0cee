//! A short run of `cargo xtask block-fuzz`: random blocks, the translators against the evaluator.
#![cfg(target_arch = "x86_64")]

use testkit::blocks::check::listing;
use testkit::blocks::{Checker, Maker, Tier, reduce::reduce};

fn check(tier: Tier, seed: u64, blocks: u64) -> Checker {
    let maker = Maker::new(seed);
    let mut checker = Checker::new(tier).expect("memory for code");
    let mut differences = 0;
    for index in 0..blocks {
        let (block, start) = maker.block(index);
        if checker.check(&block, &start, index).is_err() {
            differences += 1;
            if let Some((small, found)) = reduce(&mut checker, &block, &start, index) {
                println!("block {index} of seed {seed}:");
                for line in listing(small.bits, small.at, &small.assemble()) {
                    println!("    {line}");
                }
                println!("{found}");
            }
        }
    }
    assert_eq!(differences, 0);
    checker
}

#[test]
fn the_translator_does_what_the_evaluator_does() {
    check(Tier::T1, 386, 20_000);
}

#[test]
fn regions_do_what_the_evaluator_does() {
    let blocks = 3_000;
    let checker = check(Tier::T2, 486, blocks);
    assert!(checker.region_entries() > blocks);
}

//! A short run of `cargo xtask block-fuzz`: random blocks, the translator against the evaluator.
#![cfg(target_arch = "x86_64")]

use testkit::blocks::check::listing;
use testkit::blocks::{Checker, Maker, Tier, reduce::reduce};

#[test]
fn the_translator_does_what_the_evaluator_does() {
    let maker = Maker::new(386);
    let mut checker = Checker::new(Tier::T1).expect("memory for code");
    let mut differences = 0;
    for index in 0..20_000 {
        let (block, start) = maker.block(index);
        if checker.check(&block, &start, index).is_err() {
            differences += 1;
            if let Some((small, found)) = reduce(&mut checker, &block, &start, index) {
                println!("block {index} of seed 386:");
                for line in listing(small.bits, small.at, &small.assemble()) {
                    println!("    {line}");
                }
                println!("{found}");
            }
        }
    }
    assert_eq!(differences, 0);
}

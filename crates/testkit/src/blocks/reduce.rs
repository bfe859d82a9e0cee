//! Makes a block that differs small.

use super::{Block, Checker, Difference, Item, Start, To};

/// The block with as few items as still differ, and how it differs; `n` as in [`Checker::check`].
pub fn reduce(
    checker: &mut Checker,
    block: &Block,
    start: &Start,
    n: u64,
) -> Option<(Block, Difference)> {
    let mut best = block.clone();
    let mut found = checker.check(&best, start, n).err()?;
    let mut smaller = true;
    while smaller {
        smaller = false;
        for at in (0..best.items.len()).rev() {
            let less = without(&best, at);
            if let Err(d) = checker.check(&less, start, n) {
                (best, found) = (less, d);
                smaller = true;
            }
        }
    }
    Some((best, found))
}

fn without(block: &Block, at: usize) -> Block {
    let mut less = block.clone();
    less.items.remove(at);
    for i in &mut less.items {
        if let Item::Branch(_, To::Item(n)) = i
            && *n > at
        {
            *n -= 1;
        }
    }
    less
}

//! memtest86+, Debian's CD of it: a whole pass over a small memory.

use super::{common, with_disc};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(3000);

#[test]
#[ignore = "nightly: a pass takes minutes"]
fn memtest_passes_without_errors() {
    let name = "memtest_passes_without_errors";
    let Some(mut config) = with_disc(name, "memtest-iso") else {
        return;
    };
    config.memory = 24 << 20;
    let outcome = common::attend(&config, LIMIT, |person| {
        person.sees("Memtest86+")?;
        person.sees("Pass:  1 ")?;
        person.pulls_the_plug();
        Ok(())
    });
    let screen = &outcome.screen;
    assert_eq!(outcome.missed, None, "{screen}");
    assert!(screen.contains("Errors: 0"), "{screen}");
}

//! Counting cases and mismatches.

use std::fmt::Display;

/// Operands to try: `FERRY_FUZZ_CASES`, by default 100000, times `weight` per cent.
pub fn cases(weight: u64) -> u64 {
    let cases = std::env::var("FERRY_FUZZ_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000u64);
    cases * weight / 100
}

/// Cases and mismatches of one operation.
pub struct Report {
    name: String,
    cases: u64,
    mismatches: u64,
}

impl Report {
    pub fn new(name: impl Display) -> Report {
        Report {
            name: name.to_string(),
            cases: 0,
            mismatches: 0,
        }
    }

    /// Counts a case; prints it if it differs, for the first few.
    pub fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        got: T,
        host: T,
        operands: impl FnOnce() -> String,
    ) {
        self.cases += 1;
        if got != host {
            self.mismatches += 1;
            if self.mismatches <= 8 {
                println!(
                    "{}: {}\n  got  {got:x?}\n  host {host:x?}",
                    self.name,
                    operands()
                );
            }
        }
    }

    /// Prints the totals; panics if there was a mismatch.
    pub fn finish(self) {
        println!(
            "{}: {} cases, {} mismatches",
            self.name, self.cases, self.mismatches
        );
        assert_eq!(self.mismatches, 0, "{}", self.name);
    }
}

//! Hosts that cannot run x86 code.

use super::{Lost, Unavailable};
use crate::case::{Case, Outcome};

pub(super) enum Native {}

impl Native {
    pub(super) fn new() -> Result<Self, Unavailable> {
        Err(Unavailable::Host)
    }

    pub(super) fn run(&mut self, _: &[Case]) -> Vec<Result<Outcome, Lost>> {
        match *self {}
    }
}

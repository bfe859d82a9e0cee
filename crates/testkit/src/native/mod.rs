//! The host's own CPU as oracle: cases run natively, at CPL 3, in a child process.
//!
//! Only an x86-64 Linux host can; elsewhere [`Native::new`] answers [`Unavailable`], and callers skip by that name.

use crate::case::{Case, Outcome};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod child;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use host as imp;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod elsewhere;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
use elsewhere as imp;

/// Why there is no native oracle here.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Not an x86-64 Linux host.
    #[error("the host is not x86-64 Linux")]
    Host,
    /// A system call that the oracle needs was refused.
    #[error("{what}: {error}")]
    System {
        /// Which call.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
}

/// Why a case has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The child made no progress and was ended.
    #[error("the instruction never ends on the host")]
    Hang,
    /// The child died of the case.
    #[error("the child ended with wait status {0:#x}")]
    Died(i32),
    /// The child itself failed to set the world up.
    #[error("the child could not {0}")]
    Setup(String),
}

/// A child process that runs cases.
pub struct Native(imp::Native);

impl Native {
    /// Start the child.
    pub fn new() -> Result<Self, Unavailable> {
        imp::Native::new().map(Self)
    }

    /// Run `cases` in order.
    pub fn run(&mut self, cases: &[Case]) -> Vec<Result<Outcome, Lost>> {
        self.0.run(cases)
    }
}

#[cfg(test)]
mod tests;

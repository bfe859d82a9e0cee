//! Which engine executes the guest.

use crate::{Config, Error};
use cpu::Cpu;

/// The choice of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The evaluator alone: tier 0, the reference.
    Eval,
    /// Translation to host code, with the evaluator for the rest.
    Jit,
}

impl Default for EngineKind {
    /// The fastest that this build has.
    fn default() -> Self {
        Self::available().last().map_or(Self::Eval, |e| e.1)
    }
}

impl EngineKind {
    /// The engines that this build has for its host, the fastest last.
    pub fn available() -> &'static [(&'static str, Self)] {
        if cfg!(target_arch = "x86_64") {
            &[("eval", Self::Eval), ("jit", Self::Jit)]
        } else {
            &[("eval", Self::Eval)]
        }
    }
}

/// The engine of a machine.
pub(crate) enum Engine {
    Eval,
    #[cfg(target_arch = "x86_64")]
    Jit(Box<::engine::Engine>),
}

impl Engine {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        match config.engine {
            #[cfg(target_arch = "x86_64")]
            EngineKind::Jit => Ok(Self::Jit(Box::new(
                ::engine::Engine::new(config.jit.clone()).map_err(Error::Engine)?,
            ))),
            _ => Ok(Self::Eval),
        }
    }

    /// Runs until STOP is raised.
    pub(crate) fn run(&mut self, cpu: &mut Cpu) {
        match self {
            Self::Eval => cpu.run(),
            #[cfg(target_arch = "x86_64")]
            Self::Jit(e) => e.run(cpu),
        }
    }

    /// What the comparison of the engines found, if it stopped the run.
    pub(crate) fn take_difference(&mut self) -> Option<String> {
        match self {
            Self::Eval => None,
            #[cfg(target_arch = "x86_64")]
            Self::Jit(e) => e.difference.take().map(|d| d.to_string()),
        }
    }

    /// Host trouble that stopped the run.
    pub(crate) fn take_trouble(&mut self) -> Option<::engine::Error> {
        match self {
            Self::Eval => None,
            #[cfg(target_arch = "x86_64")]
            Self::Jit(e) => e.trouble.take(),
        }
    }

    pub(crate) fn stats(&self) -> Option<&::engine::EngineStats> {
        match self {
            Self::Eval => None,
            #[cfg(target_arch = "x86_64")]
            Self::Jit(e) => Some(&e.stats),
        }
    }
}

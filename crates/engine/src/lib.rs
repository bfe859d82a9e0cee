//! The engine: translations of guest code, where they are kept, how they are linked, and the loop that enters them.
//!
//! - [`arena`]: executable memory, written through another mapping.
//! - [`cache`]: which translation belongs to which guest code, and which links lead to it.
//! - [`enter`]: the way into generated code and the stubs that it calls.
//! - [`dump`] and [`perfmap`]: translations shown to people and to perf.
//! - [`jumps`]: what the jump cache hangs on.
//! - [`options`]: what can be chosen and switched off.
//! - [`profile`]: where samples met the guest.
//! - [`regions`] and [`sampler`]: hot loops, found and compiled as regions of T2.
//! - [`run`]: the dispatcher.
//! - [`verify`]: each block in both engines, compared.
//!
//! Invariant: generated code is entered only with [`cpu::native::Native::key`] right for the processor's mode and mapping, and left before
//! either changes.

#[cfg(target_arch = "x86_64")]
pub mod arena;
#[cfg(target_arch = "x86_64")]
pub mod cache;
pub mod dump;
#[cfg(target_arch = "x86_64")]
pub mod enter;
#[cfg(target_arch = "x86_64")]
pub mod jumps;
pub mod options;
pub mod perfmap;
#[cfg(target_arch = "x86_64")]
mod profile;
#[cfg(target_arch = "x86_64")]
mod regions;
#[cfg(target_arch = "x86_64")]
pub mod run;
#[cfg(target_arch = "x86_64")]
mod sampler;
#[cfg(target_arch = "x86_64")]
mod show;
pub mod stats;
#[cfg(target_arch = "x86_64")]
pub mod verify;

pub use dump::Dump;
pub use options::{Options, SWITCHES, Switch};
pub use perfmap::Symbols;
#[cfg(target_arch = "x86_64")]
pub use run::Engine;
pub use stats::{EngineStats, Report};

/// Host trouble of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file for people cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// There is no thread for the compiler.
    #[error("the host gives no thread to compile hot loops in")]
    Thread(#[source] std::io::Error),
    /// Hot loops cannot be compiled here.
    #[error("hot loops cannot be compiled on this host ({0}); `--jit no-regions` goes on without")]
    Translate(String),
    /// The host gives no executable memory.
    #[error("the host cannot map {bytes} bytes of memory for translated code")]
    Map {
        bytes: usize,
        #[source]
        source: std::io::Error,
    },
}

//! Why a machine cannot be built or cannot go on.

use crate::loader;
use std::io;
use std::path::PathBuf;

/// Host-side errors of the board.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Engine(#[from] ::engine::Error),
    #[error("cannot open the {role} {} (accepted is a readable file)", path.display())]
    Open {
        role: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the {role} {} is a directory; accepted is a file", path.display())]
    Directory { role: &'static str, path: PathBuf },
    #[error("cannot read the {role} {}", path.display())]
    Read {
        role: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the {role} {} has more than the {limit} bytes of the machine's memory; give the machine more --memory or a smaller file", path.display())]
    TooLarge {
        role: &'static str,
        path: PathBuf,
        limit: u64,
    },
    #[error("the initrd {} is empty; accepted is a cpio archive or whatever the kernel expects", path.display())]
    EmptyInitrd { path: PathBuf },
    #[error("cannot start the kernel {}", path.display())]
    Kernel {
        path: PathBuf,
        source: loader::Error,
    },
    #[error("neither a kernel nor firmware is named; accepted is one of them, or both")]
    NothingToStart,
    #[error(
        "{missing} is not here, so there is no firmware '{name}'; install the Debian package {package}, or name an image file"
    )]
    NoFirmware {
        name: &'static str,
        package: &'static str,
        missing: &'static str,
    },
    #[error("the firmware image {} has {bytes} bytes; accepted are multiples of 4096 up to 16 MiB, variables included", path.display())]
    FirmwareSize { path: PathBuf, bytes: u64 },
    #[error("cannot write the {role} {} (accepted is the path of a file that can be written)", path.display())]
    Create {
        role: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot have {} MiB of guest memory (ask for less with --memory)", bytes >> 20)]
    Memory { bytes: u64, source: memory::Error },
    #[error("the board is wired wrong")]
    Wiring(#[from] bus::map::Overlap),
    #[error("the loader wrote outside of memory")]
    Load(#[from] memory::OutsideRam),
    #[error(transparent)]
    Disk(block::Error),
    #[error(transparent)]
    Network(net::Error),
    #[error(transparent)]
    Share(share::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("{0}")]
    Difference(String),
    #[error("cannot write the guest's serial output")]
    SerialOutput(#[source] io::Error),
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// What was asked for cannot be had: another request may succeed.
    Arguments,
    /// The host failed.
    Host,
}

impl Error {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Disk(e) if e.blames_host() => Blame::Host,
            Self::Network(e) if e.blames_host() => Blame::Host,
            Self::Share(e) if e.blames_host() => Blame::Host,
            Self::Disk(_) | Self::Network(_) | Self::Share(_) => Blame::Arguments,
            Self::Open { .. }
            | Self::Directory { .. }
            | Self::TooLarge { .. }
            | Self::EmptyInitrd { .. }
            | Self::NothingToStart
            | Self::NoFirmware { .. }
            | Self::FirmwareSize { .. }
            | Self::Create { .. }
            | Self::Kernel { .. }
            | Self::Memory { .. }
            | Self::Engine(::engine::Error::Write { .. }) => Blame::Arguments,
            Self::Read { .. }
            | Self::Engine(
                ::engine::Error::Map { .. }
                | ::engine::Error::Thread(_)
                | ::engine::Error::Translate(_),
            )
            | Self::Wiring(_)
            | Self::Load(_)
            | Self::Thread(_)
            | Self::Difference(_)
            | Self::SerialOutput(_) => Blame::Host,
        }
    }
}

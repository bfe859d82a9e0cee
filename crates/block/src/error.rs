//! Why an image cannot be had.

use crate::Format;
use std::io;
use std::path::PathBuf;

/// Trouble with an image file; the message names the file and what would do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the disk image {path} (accepted is a file that can be {wanted})")]
    Open {
        path: PathBuf,
        wanted: &'static str,
        source: io::Error,
    },
    #[error("the disk image {path} is a directory; accepted is a file or a block device")]
    Directory { path: PathBuf },
    #[error(
        "the disk image {path} is in use by another machine; accepted is a file that nobody writes (or readonly=on or snapshot=on in all of \
         them)"
    )]
    Locked { path: PathBuf },
    #[error("{path} is no {format} image: {reason}")]
    Malformed {
        path: PathBuf,
        format: Format,
        reason: String,
    },
    #[error("{path} is a {format} image that cannot be used: {reason}")]
    Unsupported {
        path: PathBuf,
        format: Format,
        reason: String,
    },
    #[error(
        "{format} images cannot be written in this version; accepted are readonly=on and snapshot=on, or `ferry disk convert` it to qcow2"
    )]
    NoWriting { format: Format },
    #[error("cannot create {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot make a temporary file for snapshot=on in {directory}")]
    Temporary {
        directory: PathBuf,
        source: io::Error,
    },
    #[error("{0}")]
    Request(String),
    #[error("cannot {what} {path}")]
    Work {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot start an I/O thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Whether the host failed at something that can be asked for.
    pub fn blames_host(&self) -> bool {
        match self {
            Self::Work { .. } | Self::Thread(_) | Self::Temporary { .. } => true,
            Self::Open { .. }
            | Self::Directory { .. }
            | Self::Locked { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. }
            | Self::NoWriting { .. }
            | Self::Create { .. }
            | Self::Request(_) => false,
        }
    }
}

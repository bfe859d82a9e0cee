//! From a file's name and the user's wishes to an image.

use crate::lock::{self, Direct};
use crate::overlay::Overlay;
use crate::qcow2::Imago;
use crate::raw::Raw;
use crate::vhdx::Vhdx;
use crate::vmdk::Vmdk;
use crate::{Access, Error, Image};
use std::fmt;
use std::io;
use std::path::Path;

/// How a disk is kept in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
    Vmdk,
    Vhdx,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("raw", Self::Raw),
        ("qcow2", Self::Qcow2),
        ("vmdk", Self::Vmdk),
        ("vhdx", Self::Vhdx),
    ];

    /// The format of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|f| f.0 == name).map(|f| f.1)
    }

    /// Whether this version can write it.
    pub fn writable(self) -> bool {
        matches!(self, Self::Raw | Self::Qcow2)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|a| a.1 == *self).map_or("", |a| a.0);
        f.pad(name)
    }
}

/// What stands between the guest and the host's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// The host's page cache; a flush goes through it.
    #[default]
    Writeback,
    /// Nothing (O_DIRECT).
    None,
}

/// Whether writes outlive the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persistence {
    #[default]
    Kept,
    /// `snapshot=on`: they go to a temporary file.
    Dropped,
}

/// How to open an image.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None` looks at the content: raw is what is nothing else.
    pub format: Option<Format>,
    pub access: Access,
    pub cache: Cache,
    pub persistence: Persistence,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: None,
            access: Access::ReadWrite,
            cache: Cache::default(),
            persistence: Persistence::default(),
        }
    }
}

/// The format that the content of a file shows. A guest that may write a raw disk can make it look like any other: give a format where
/// that matters.
pub fn probe(path: &Path) -> Result<Format, Error> {
    let file = lock::open(path, Access::ReadOnly, Direct::No).or_else(|e| match e {
        // Whether it is in use is for the opening itself to say.
        Error::Locked { path } => std::fs::File::open(&path).map_err(|source| Error::Open {
            path,
            wanted: "read",
            source,
        }),
        e => Err(e),
    })?;
    let mut head = [0; 512];
    crate::bytes::read_padded(&file, 0, &mut head).map_err(|source| Error::Open {
        path: path.to_owned(),
        wanted: "read",
        source,
    })?;
    Ok(match head {
        [b'Q', b'F', b'I', 0xfb, ..] => Format::Qcow2,
        [b'K', b'D', b'M', b'V', ..] | [b'C', b'O', b'W', b'D', ..] => Format::Vmdk,
        _ if head.starts_with(b"vhdxfile") => Format::Vhdx,
        _ if head
            .trim_ascii_start()
            .starts_with(b"# Disk DescriptorFile") =>
        {
            Format::Vmdk
        }
        _ => Format::Raw,
    })
}

/// Opens an image; the file stays locked as long as it lives.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Image>, Error> {
    let format = match options.format {
        Some(format) => format,
        None => probe(path)?,
    };
    let access = match options.persistence {
        Persistence::Kept => options.access,
        Persistence::Dropped => Access::ReadOnly,
    };
    if access == Access::ReadWrite && !format.writable() {
        return Err(Error::NoWriting { format });
    }
    let direct = match options.cache {
        Cache::Writeback => Direct::No,
        Cache::None => Direct::Yes,
    };
    let cannot = |source| Error::Open {
        path: path.to_owned(),
        wanted: "read",
        source,
    };
    let image: Box<dyn Image> = match (format, direct) {
        (Format::Raw, Direct::No) => {
            Box::new(Raw::new(lock::open(path, access, Direct::No)?, access).map_err(cannot)?)
        }
        (Format::Raw, Direct::Yes) => Box::new(Imago::raw(path, access, direct)?),
        (Format::Qcow2, _) => Box::new(Imago::qcow2(path, access, direct)?),
        (Format::Vmdk, _) => Box::new(Vmdk::open(path)?),
        (Format::Vhdx, _) => Box::new(Vhdx::open(path)?),
    };
    match options.persistence {
        Persistence::Dropped if options.access == Access::ReadWrite => {
            let file = tempfile::tempfile().map_err(temporary)?;
            Ok(Box::new(Overlay::new(image, file)))
        }
        _ => Ok(image),
    }
}

fn temporary(source: io::Error) -> Error {
    Error::Temporary {
        directory: std::env::temp_dir(),
        source,
    }
}

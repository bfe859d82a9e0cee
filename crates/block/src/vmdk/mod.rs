//! VMDK, for reading (VMware, "Virtual Disk Format 5.0"): flat, zero and sparse extents, compressed (streamOptimized) ones too.
//!
//! Absent: disks with a parent, ESXi's COWD and SESPARSE extents, writing.

mod descriptor;
mod sparse;

use crate::bytes::{le32, le64, read_padded};
use crate::lock::{self, Direct};
use crate::{Access, Error, Format, Image, check_range};
use descriptor::{Descriptor, Kind};
use sparse::Sparse;
use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) const SECTOR: u64 = 512;
/// Largest descriptor that is looked at.
const DESCRIPTOR_LIMIT: u64 = 1 << 20;
/// Largest disk: what 32-bit sector numbers of a few extents can reach, with room.
const SIZE_LIMIT: u64 = 256 << 40;

/// What is wrong with a file, before its name is known.
pub(crate) enum Trouble {
    Malformed(String),
    Unsupported(String),
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

enum Source {
    Zero,
    Flat { file: File, offset: u64 },
    Sparse(Sparse),
}

struct Extent {
    end: u64,
    start: u64,
    source: Source,
}

pub(crate) struct Vmdk {
    extents: Vec<Extent>,
    size: u64,
}

impl Vmdk {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = lock::open(path, Access::ReadOnly, Direct::No)?;
        Self::parse(path, file).map_err(|trouble| match trouble {
            Trouble::Malformed(reason) => Error::Malformed {
                path: path.to_owned(),
                format: Format::Vmdk,
                reason,
            },
            Trouble::Unsupported(reason) => Error::Unsupported {
                path: path.to_owned(),
                format: Format::Vmdk,
                reason,
            },
            Trouble::Io(source) => Error::Open {
                path: path.to_owned(),
                wanted: "read",
                source,
            },
            Trouble::Other(e) => e,
        })
    }

    fn parse(path: &Path, file: File) -> Result<Self, Trouble> {
        let mut head = [0; 512];
        read_padded(&file, 0, &mut head)?;
        match head {
            [b'K', b'D', b'M', b'V', ..] => {
                let (at, bytes) = (le64(&head, 28), le64(&head, 36));
                if at != 0 {
                    let at = at.saturating_mul(SECTOR);
                    let bytes = bytes.saturating_mul(SECTOR).min(DESCRIPTOR_LIMIT);
                    let text = text(&file, at, bytes)?;
                    // It names this very file as its extent; what matters is that there is no parent.
                    Descriptor::parse(&text)?;
                }
                let sparse = Sparse::new(file)?;
                let size = sparse.size();
                let extent = Extent {
                    start: 0,
                    end: size,
                    source: Source::Sparse(sparse),
                };
                Ok(Self {
                    extents: vec![extent],
                    size,
                })
            }
            [b'C', b'O', b'W', b'D', ..] => Err(Trouble::Unsupported(
                "its extent is of ESXi's type COWD; accepted are flat and hosted sparse extents"
                    .into(),
            )),
            _ => {
                let bytes = file.metadata()?.len();
                if bytes > DESCRIPTOR_LIMIT {
                    return Err(Trouble::Malformed("it begins like no VMDK".into()));
                }
                let descriptor = Descriptor::parse(&text(&file, 0, bytes)?)?;
                Self::extents(path, &descriptor)
            }
        }
    }

    /// Opens the files that a descriptor names, beside it.
    fn extents(path: &Path, descriptor: &Descriptor) -> Result<Self, Trouble> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut extents = Vec::new();
        let mut start = 0u64;
        for e in &descriptor.extents {
            let bytes = e.sectors.checked_mul(SECTOR);
            let end = bytes.and_then(|b| start.checked_add(b));
            let Some(end) = end.filter(|&end| end <= SIZE_LIMIT) else {
                return Err(Trouble::Malformed("its extents are too large".into()));
            };
            let open = |name: &str| -> Result<File, Trouble> {
                let name = Path::new(name);
                if name.is_absolute() || name.components().count() != 1 {
                    return Err(Trouble::Unsupported(format!(
                        "its extent is in {}; accepted are files beside the descriptor",
                        name.display()
                    )));
                }
                Ok(lock::open(
                    &directory.join(name),
                    Access::ReadOnly,
                    Direct::No,
                )?)
            };
            let source = match &e.kind {
                Kind::Zero => Source::Zero,
                Kind::Flat { name, offset } => Source::Flat {
                    file: open(name)?,
                    offset: offset.saturating_mul(SECTOR),
                },
                Kind::Sparse { name } => Source::Sparse(Sparse::new(open(name)?)?),
            };
            extents.push(Extent { start, end, source });
            start = end;
        }
        if start == 0 {
            return Err(Trouble::Malformed("its descriptor names no extent".into()));
        }
        Ok(Self {
            extents,
            size: start,
        })
    }
}

/// The text of a descriptor, which is padded with zeroes.
fn text(file: &File, at: u64, bytes: u64) -> io::Result<String> {
    let mut text = vec![0; bytes as usize];
    read_padded(file, at, &mut text)?;
    let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    text.truncate(end);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Image for Vmdk {
    fn size(&self) -> u64 {
        self.size
    }
    fn access(&self) -> Access {
        Access::ReadOnly
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        check_range(self.size, at, into.len() as u64)?;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let index = self.extents.partition_point(|e| e.end <= at);
            let Some(extent) = self.extents.get(index) else {
                rest.fill(0);
                break;
            };
            let within = at - extent.start;
            let n = (extent.end - at).min(rest.len() as u64);
            let (part, tail) = rest.split_at_mut(n as usize);
            match &extent.source {
                Source::Zero => part.fill(0),
                Source::Flat { file, offset } => {
                    read_padded(file, offset.saturating_add(within), part)?
                }
                Source::Sparse(sparse) => sparse.read(within, part)?,
            }
            at += n;
            rest = tail;
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The header of a sparse extent ("Hosted Sparse Extent Header").
pub(crate) struct Header {
    pub flags: u32,
    pub capacity: u64,
    pub grain: u64,
    pub entries: u32,
    pub directory: u64,
    pub compression: u16,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        if !bytes.starts_with(b"KDMV") {
            return Err(Trouble::Malformed(
                "a sparse extent has no signature".into(),
            ));
        }
        let version = le32(bytes, 4);
        if !(1..=3).contains(&version) {
            return Err(Trouble::Unsupported(format!(
                "its sparse extent has version {version}; accepted are 1 to 3"
            )));
        }
        Ok(Self {
            flags: le32(bytes, 8),
            capacity: le64(bytes, 12),
            grain: le64(bytes, 20),
            entries: le32(bytes, 44),
            directory: le64(bytes, 56),
            compression: crate::bytes::le16(bytes, 77),
        })
    }
}

//! qcow2, and raw without the page cache: the crate `imago` behind our own trait.
//!
//! Its requests run on the thread that calls; discarding needs the image alone. A panic of the library, which a malformed image might
//! provoke, is an error of that request.

use crate::lock::{self, Direct};
use crate::{Access, Error, Format, Image, Space, check_range, qcow2_check, read_only};
use imago::file::File as Storage;
use imago::format::builder::FormatDriverBuilder;
use imago::format::gate::ImplicitOpenGate;
use imago::{FormatAccess, StorageOpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Backing files of one image.
const CHAIN_LIMIT: u32 = 64;

pub(crate) struct Imago {
    access: RwLock<FormatAccess<Storage>>,
    mode: Access,
    size: u64,
}

/// What the library does, its panics made errors.
pub(crate) fn guarded<T>(what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(what)).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the image is damaged in a way that its reader cannot handle",
        ))
    })
}

/// A locked file as the library's storage.
pub(crate) fn storage(path: &Path, access: Access, direct: Direct) -> Result<Storage, Error> {
    let file = lock::open(path, access, direct)?;
    let options = StorageOpenOptions::new()
        .filename(path)
        .write(access == Access::ReadWrite)
        .direct(direct == Direct::Yes);
    Storage::from_open_file(file, options).map_err(|source| Error::Open {
        path: path.to_owned(),
        wanted: "read",
        source,
    })
}

/// Opens backing files: read-only, locked, and not without end.
#[derive(Clone)]
struct Gate {
    depth: u32,
    direct: Direct,
}

impl ImplicitOpenGate<Storage> for Gate {
    fn open_format<F: FormatDriverBuilder<Storage>>(
        &mut self,
        builder: F,
    ) -> io::Result<FormatAccess<Storage>> {
        if self.depth >= CHAIN_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("more than {CHAIN_LIMIT} backing files, or a circle of them"),
            ));
        }
        let inner = Gate {
            depth: self.depth + 1,
            direct: self.direct,
        };
        Ok(FormatAccess::new(builder.open(inner)?))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let Some(path) = options.get_filename().map(Path::to_owned) else {
            return Err(io::Error::other("a backing file without a name"));
        };
        let access = match options.get_writable() {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        };
        // The library keeps the text and drops the cause.
        storage(&path, access, self.direct).map_err(|e| match std::error::Error::source(&e) {
            Some(cause) => io::Error::other(format!("{e}: {cause}")),
            None => io::Error::other(e),
        })
    }
}

impl Imago {
    /// A qcow2 image with its backing files.
    pub(crate) fn qcow2(path: &Path, mode: Access, direct: Direct) -> Result<Self, Error> {
        if mode == Access::ReadWrite {
            // Trouble shows again, and better, when the image is opened.
            match qcow2_check::repair_leaks(path) {
                Ok(0) | Err(_) => {}
                Ok(leaked) => {
                    tracing::info!(target: "block", path = %path.display(), leaked, "took back clusters that a killed writer left");
                }
            }
        }
        let file = storage(path, mode, direct)?;
        let builder =
            imago::qcow2::Qcow2::<Storage>::builder(file).write(mode == Access::ReadWrite);
        let gate = Gate { depth: 0, direct };
        let opened = guarded(|| builder.open(gate)).map_err(|e| match e.kind() {
            io::ErrorKind::Unsupported => Error::Unsupported {
                path: path.to_owned(),
                format: Format::Qcow2,
                reason: e.to_string(),
            },
            _ => Error::Malformed {
                path: path.to_owned(),
                format: Format::Qcow2,
                reason: e.to_string(),
            },
        })?;
        Ok(Self::new(FormatAccess::new(opened), mode))
    }

    /// A raw image past the page cache.
    pub(crate) fn raw(path: &Path, mode: Access, direct: Direct) -> Result<Self, Error> {
        let file = storage(path, mode, direct)?;
        let opened =
            imago::raw::Raw::open_image(file, mode == Access::ReadWrite).map_err(|source| {
                Error::Open {
                    path: path.to_owned(),
                    wanted: "read",
                    source,
                }
            })?;
        Ok(Self::new(FormatAccess::new(opened), mode))
    }

    pub(crate) fn new(access: FormatAccess<Storage>, mode: Access) -> Self {
        let size = access.size();
        Self {
            access: RwLock::new(access),
            mode,
            size,
        }
    }

    fn shared<T>(
        &self,
        what: impl FnOnce(&FormatAccess<Storage>) -> io::Result<T>,
    ) -> io::Result<T> {
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        guarded(|| what(&access))
    }

    fn alone<T>(
        &self,
        what: impl FnOnce(&mut FormatAccess<Storage>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut access = self.access.write().unwrap_or_else(PoisonError::into_inner);
        guarded(|| what(&mut access))
    }

    fn check(&self, at: u64, bytes: u64) -> io::Result<()> {
        if self.mode == Access::ReadOnly {
            return Err(read_only());
        }
        check_range(self.size, at, bytes)
    }
}

impl Image for Imago {
    fn size(&self) -> u64 {
        self.size
    }
    fn access(&self) -> Access {
        self.mode
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        check_range(self.size, at, into.len() as u64)?;
        self.shared(|a| a.read(into, at))
    }
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.check(at, from.len() as u64)?;
        self.shared(|a| a.write(from, at))
    }
    fn zero(&self, at: u64, bytes: u64, space: Space) -> io::Result<()> {
        self.check(at, bytes)?;
        match space {
            Space::Keep => self.shared(|a| a.write_zeroes(at, bytes)),
            Space::Free => match self.alone(|a| a.discard_to_zero(at, bytes)) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                    self.shared(|a| a.write_zeroes(at, bytes))
                }
                result => result,
            },
        }
    }
    fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.check(at, bytes)?;
        match self.alone(|a| a.discard_to_any(at, bytes)) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => result,
        }
    }
    fn flush(&self) -> io::Result<()> {
        if self.mode == Access::ReadOnly {
            return Ok(());
        }
        self.shared(|a| {
            a.flush()?;
            a.sync()
        })
    }
}

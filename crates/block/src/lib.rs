//! Disk images and the threads that read and write them.
//!
//! An [`Image`] is a disk's bytes, whatever file format they are kept in: raw, qcow2 (with backing files), VMDK and VHDX (for reading).
//! [`open`] finds the format, locks the file and gives back an image; a [`Disk`] is an image with its I/O threads, to which devices
//! hand jobs, so that no vCPU waits for the host's disk. [`manage`] is what `ferry disk` does.
//!
//! Invariants: a finished [`Image::flush`] means that all writes finished before it are on the host's disk; nothing in a file makes this
//! crate panic, since images come from strangers; nothing here knows a device or guest memory.
//!
//! qcow2 is the crate `imago`'s; so is raw with `cache=none`, for its alignment. VMDK with sparse extents and VHDX, which it does not
//! have, are read here. Absent: writing VMDK and VHDX, encryption, internal snapshots, differencing VMDK and VHDX.

mod bytes;
mod disk;
mod error;
mod lock;
pub mod manage;
mod memory;
mod open;
mod overlay;
mod qcow2;
pub mod qcow2_check;
mod raw;
mod vhdx;
mod vmdk;

pub use disk::{Disk, Job, room};
pub use error::Error;
pub use memory::MemoryImage;
pub use open::{Cache, Format, Options, Persistence, open, probe};

use std::io;
use std::os::fd::BorrowedFd;

/// What becomes of the space of zeroed or discarded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Keep,
    Free,
}

/// Whether an image may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// A disk's bytes. All methods may be called from several threads at once.
pub trait Image: Send + Sync {
    /// Bytes of the disk.
    fn size(&self) -> u64;
    /// Whether writes can succeed.
    fn access(&self) -> Access;
    /// Fills `into`; what is beyond the end of the file reads as zeroes.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Where the range stands in a file of the host, if it is there as it is: a device may read it from there, without a copy of ours in
    /// between. What lies beyond that file's end are zeroes. Good until the next write to the range.
    fn plain(&self, at: u64, bytes: u64) -> Option<(BorrowedFd<'_>, u64)> {
        let _ = (at, bytes);
        None
    }
    /// Writes all of `from`. A format that is only read leaves this and the next two as they are.
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        let _ = (at, from);
        Err(read_only())
    }
    /// From now on the range reads as zeroes.
    fn zero(&self, at: u64, bytes: u64, space: Space) -> io::Result<()> {
        let _ = (at, bytes, space);
        Err(read_only())
    }
    /// The guest does not need the range's content any more; it reads as zeroes or as before.
    fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        let _ = (at, bytes);
        Err(read_only())
    }
    /// All writes that ended before are on the host's disk when this returns.
    fn flush(&self) -> io::Result<()>;
}

/// The refusal of a write to an image that cannot be written.
pub(crate) fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the image is read-only")
}

/// The refusal of an access beyond the end.
pub(crate) fn check_range(size: u64, at: u64, bytes: u64) -> io::Result<()> {
    match at.checked_add(bytes) {
        Some(end) if end <= size => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{bytes} bytes at {at} are beyond the end of the disk at {size}"),
        )),
    }
}

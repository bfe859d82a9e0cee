//! A disk in memory that can be made to fail: for tests and for fuzzing.
//!
//! A file has the same bytes, so that devices take the way to it that they take to a raw image ([`Image::plain`]).

use crate::{Access, Image, Space};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a discarded byte reads as.
const DISCARDED: u8 = 0xdd;

/// The disk. An `Arc` of it is an [`Image`], so that whoever made it keeps hold of what the disk has.
pub struct MemoryImage {
    pub bytes: Mutex<Vec<u8>>,
    pub access: Access,
    /// Every access fails.
    pub broken: AtomicBool,
    /// How often it was flushed.
    pub flushes: AtomicU32,
    file: File,
}

impl MemoryImage {
    /// A disk with these bytes.
    pub fn new(bytes: Vec<u8>, access: Access) -> io::Result<Arc<Self>> {
        let file = tempfile::tempfile()?;
        file.write_all_at(&bytes, 0)?;
        Ok(Arc::new(Self {
            bytes: Mutex::new(bytes),
            access,
            broken: AtomicBool::new(false),
            flushes: AtomicU32::new(0),
            file,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a range, in the file as well.
    fn change(&self, at: u64, n: u64, f: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.with(at, n, |bytes| {
            f(bytes);
            self.file.write_all_at(bytes, at)
        })?
    }

    fn with<R>(&self, at: u64, n: u64, f: impl FnOnce(&mut [u8]) -> R) -> io::Result<R> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken on purpose"));
        }
        let mut bytes = self.lock();
        crate::check_range(bytes.len() as u64, at, n)?;
        bytes
            .get_mut(at as usize..(at + n) as usize)
            .map(f)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl Image for Arc<MemoryImage> {
    fn size(&self) -> u64 {
        self.lock().len() as u64
    }
    fn access(&self) -> Access {
        self.access
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(at, into.len() as u64, |b| into.copy_from_slice(b))
    }
    fn plain(&self, at: u64, bytes: u64) -> Option<(BorrowedFd<'_>, u64)> {
        let fine = self.with(at, bytes, |_| ());
        fine.ok().map(|()| (self.file.as_fd(), at))
    }
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.change(at, from.len() as u64, |b| b.copy_from_slice(from))
    }
    fn zero(&self, at: u64, bytes: u64, _: Space) -> io::Result<()> {
        self.change(at, bytes, |b| b.fill(0))
    }
    fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.change(at, bytes, |b| b.fill(DISCARDED))
    }
    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.with(0, 0, |_| ())
    }
}

//! A disk's bytes as they are, in a file or a block device, through the host's page cache.

use crate::bytes::read_padded;
use crate::{Access, Image, Space, check_range, read_only};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

pub(crate) struct Raw {
    file: File,
    size: u64,
    access: Access,
}

impl Raw {
    /// An image of all of `file`; an odd tail of less than a sector reads as if it were filled with zeroes.
    pub(crate) fn new(mut file: File, access: Access) -> io::Result<Self> {
        // Metadata tell nothing of a block device's size.
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size, access })
    }

    /// Only full sectors can be written.
    fn check(&self, at: u64, bytes: u64) -> io::Result<()> {
        if self.access == Access::ReadOnly {
            return Err(read_only());
        }
        check_range(self.size, at, bytes)
    }

    /// Zeroes by writing them.
    fn write_zeroes(&self, mut at: u64, mut bytes: u64) -> io::Result<()> {
        let zeroes = vec![0; bytes.min(1 << 20) as usize];
        while bytes > 0 {
            let n = bytes.min(zeroes.len() as u64);
            self.file
                .write_all_at(zeroes.get(..n as usize).unwrap_or_default(), at)?;
            at += n;
            bytes -= n;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, at: u64, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, at, bytes)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether the host's file system cannot do this, rather than failed at it.
fn impossible(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
    ) || e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

impl Image for Raw {
    fn size(&self) -> u64 {
        self.size
    }
    fn access(&self) -> Access {
        self.access
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        read_padded(&self.file, at, into)
    }
    fn plain(&self, at: u64, _: u64) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.file.as_fd(), at))
    }
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.check(at, from.len() as u64)?;
        self.file.write_all_at(from, at)
    }
    fn zero(&self, at: u64, bytes: u64, space: Space) -> io::Result<()> {
        self.check(at, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        match space {
            Space::Free => match self.punch(at, bytes) {
                Err(e) if impossible(&e) => self.write_zeroes(at, bytes),
                result => result,
            },
            Space::Keep => self.write_zeroes(at, bytes),
        }
    }
    fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.check(at, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        match self.punch(at, bytes) {
            Err(e) if impossible(&e) => Ok(()),
            result => result,
        }
    }
    fn flush(&self) -> io::Result<()> {
        match self.access {
            Access::ReadOnly => Ok(()),
            Access::ReadWrite => self.file.sync_data(),
        }
    }
}

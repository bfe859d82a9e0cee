//! `snapshot=on`: writes go to a temporary file that has no name and ends with the run.

use crate::{Access, Image, Space, check_range};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock};

/// Bytes that are copied up at once.
const CLUSTER: u64 = 1 << 16;

pub(crate) struct Overlay {
    base: Box<dyn Image>,
    file: File,
    /// Which clusters are in the file. Held for writing while a cluster comes into being.
    present: RwLock<Vec<u64>>,
}

impl Overlay {
    pub(crate) fn new(base: Box<dyn Image>, file: File) -> Self {
        let words = base.size().div_ceil(CLUSTER).div_ceil(64) as usize;
        Self {
            base,
            file,
            present: RwLock::new(vec![0; words]),
        }
    }

    /// Calls `f` with each piece of a range that lies in one cluster: (cluster, offset on the disk, range in the buffer).
    fn pieces(
        at: u64,
        bytes: u64,
        mut f: impl FnMut(u64, u64, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < bytes {
            let here = at + done;
            let n = (CLUSTER - here % CLUSTER).min(bytes - done);
            f(here / CLUSTER, here, done as usize..(done + n) as usize)?;
            done += n;
        }
        Ok(())
    }

    fn has(present: &[u64], cluster: u64) -> bool {
        present
            .get((cluster / 64) as usize)
            .is_some_and(|w| w >> (cluster % 64) & 1 != 0)
    }

    /// Brings `cluster` into the file, with what the base has.
    fn bring(&self, present: &mut [u64], cluster: u64) -> io::Result<()> {
        let at = cluster * CLUSTER;
        let mut content = vec![0; CLUSTER.min(self.base.size() - at) as usize];
        self.base.read(at, &mut content)?;
        self.file.write_all_at(&content, at)?;
        if let Some(w) = present.get_mut((cluster / 64) as usize) {
            *w |= 1 << (cluster % 64);
        }
        Ok(())
    }
}

impl Image for Overlay {
    fn size(&self) -> u64 {
        self.base.size()
    }
    fn access(&self) -> Access {
        Access::ReadWrite
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = into.len() as u64;
        Self::pieces(at, bytes, |cluster, here, range| {
            let part = into.get_mut(range).unwrap_or_default();
            match Self::has(&present, cluster) {
                true => crate::bytes::read_padded(&self.file, here, part),
                false => self.base.read(here, part),
            }
        })
    }
    fn plain(&self, at: u64, bytes: u64) -> Option<(BorrowedFd<'_>, u64)> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let mut untouched = true;
        // The closure does not fail.
        let _ = Self::pieces(at, bytes, |cluster, _, _| {
            untouched &= !Self::has(&present, cluster);
            Ok(())
        });
        // The base is never written: it stays what the range was now.
        untouched.then(|| self.base.plain(at, bytes)).flatten()
    }
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        check_range(self.size(), at, from.len() as u64)?;
        Self::pieces(at, from.len() as u64, |cluster, here, range| {
            let part = from.get(range).unwrap_or_default();
            let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
            if Self::has(&present, cluster) {
                return self.file.write_all_at(part, here);
            }
            drop(present);
            let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
            if !Self::has(&present, cluster) {
                self.bring(&mut present, cluster)?;
            }
            self.file.write_all_at(part, here)
        })
    }
    fn zero(&self, at: u64, bytes: u64, _: Space) -> io::Result<()> {
        check_range(self.size(), at, bytes)?;
        let zeroes = [0; CLUSTER as usize];
        Self::pieces(at, bytes, |_, here, range| {
            self.write(here, zeroes.get(..range.len()).unwrap_or_default())
        })
    }
    fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        check_range(self.size(), at, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        // Nothing of it outlives the run.
        Ok(())
    }
}

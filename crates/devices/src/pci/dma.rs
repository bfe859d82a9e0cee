//! Bus mastering: how a function reaches RAM.

use arch::{GuestPhys, Uint};
use block::Image;
use memory::Ram;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A transfer that did not happen. A chip sets what its datasheet says for a master or target abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// The command register forbids bus mastering.
    Disabled,
    /// Not (wholly) RAM.
    OutsideRam,
}

/// Flash chips and video memory are no RAM.
fn reaches(ram: &Ram, addr: u64, len: usize) -> Result<(), DmaError> {
    match ram.is_main(GuestPhys(addr), len as u64) {
        true => Ok(()),
        false => Err(DmaError::OutsideRam),
    }
}

/// A function's way to RAM; nothing passes while its command register does not let it master the bus. Code that is overwritten becomes stale
/// as by the processor's own stores. Clones are handles to the same one, for any thread.
#[derive(Clone)]
pub struct Dma {
    ram: Arc<Ram>,
    enabled: Arc<AtomicBool>,
}

impl Dma {
    pub(super) fn new(ram: Arc<Ram>) -> Self {
        Self {
            ram,
            enabled: Arc::default(),
        }
    }

    pub(super) fn enable(&self, on: bool) {
        self.enabled.store(on, Ordering::Release);
    }

    /// Whether the command register lets the function master the bus.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    fn allowed(&self) -> Result<&Ram, DmaError> {
        if self.is_enabled() {
            Ok(&self.ram)
        } else {
            Err(DmaError::Disabled)
        }
    }

    /// Copies out of RAM.
    pub fn read(&self, addr: u64, into: &mut [u8]) -> Result<(), DmaError> {
        let ram = self.allowed()?;
        reaches(ram, addr, into.len())?;
        let done = ram.read(GuestPhys(addr), into);
        done.map_err(|_| DmaError::OutsideRam)
    }

    /// Copies into RAM.
    pub fn write(&self, addr: u64, from: &[u8]) -> Result<(), DmaError> {
        let ram = self.allowed()?;
        reaches(ram, addr, from.len())?;
        let done = ram.write(GuestPhys(addr), from);
        done.map_err(|_| DmaError::OutsideRam)
    }

    /// Fills pieces of RAM (address, bytes), one behind the other, from a file of the host; with zeroes beyond its end.
    pub fn read_file(
        &self,
        pieces: &[(u64, u64)],
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<io::Result<()>, DmaError> {
        let ram = self.allowed()?;
        for &(at, bytes) in pieces {
            reaches(ram, at, bytes as usize)?;
        }
        let places = pieces.iter().map(|p| (GuestPhys(p.0), p.1 as usize));
        let places: Vec<_> = places.collect();
        let mut done = match ram.read_file(&places, file, offset) {
            Ok(done) => done,
            Err(e) => return Ok(Err(e)),
        };
        for (at, bytes) in places {
            let here = done.min(bytes as u64);
            done -= here;
            let missing = bytes - here as usize;
            let end = ram.fill(GuestPhys(at.0 + here), 0, 1, missing);
            end.map_err(|_| DmaError::OutsideRam)?;
        }
        Ok(Ok(()))
    }

    /// A little-endian value out of RAM.
    pub fn load<T: Uint>(&self, addr: u64) -> Result<T, DmaError> {
        let ram = self.allowed()?;
        reaches(ram, addr, size_of::<T>())?;
        let value = ram.load(GuestPhys(addr));
        value.map_err(|_| DmaError::OutsideRam)
    }

    /// A little-endian value into RAM.
    pub fn store<T: Uint>(&self, addr: u64, value: T) -> Result<(), DmaError> {
        let bytes = value.u64().to_le_bytes();
        self.write(addr, bytes.get(..size_of::<T>()).unwrap_or(&bytes))
    }

    /// The RAM itself, whatever the command register says: for a thread that checked before.
    pub fn ram(&self) -> &Arc<Ram> {
        &self.ram
    }
}

/// The pieces of RAM, one behind the other, that a table of physical regions names for one transfer.
pub(crate) trait Pieces {
    /// Why a transfer ends before its time: also because RAM cannot be reached, or the medium not be read.
    type Trouble: From<DmaError> + From<io::Error>;

    fn dma(&self) -> &Dma;

    /// The address and the bytes of the next piece, of at most `most` bytes and not empty.
    fn next(&mut self, most: u64) -> Result<(u64, u64), Self::Trouble>;

    /// Fills the memory that comes next with `bytes` bytes of `image` from `at` on: straight where they stand in a file as they are,
    /// through `buffer` otherwise.
    fn read_image(
        &mut self,
        image: &dyn Image,
        buffer: &mut Vec<u8>,
        at: u64,
        bytes: u64,
    ) -> Result<(), Self::Trouble> {
        let Some((file, offset)) = image.plain(at, bytes) else {
            buffer.resize(bytes as usize, 0);
            image.read(at, buffer)?;
            return self.scatter(buffer);
        };
        let (mut pieces, mut left) = (Vec::new(), bytes);
        let ended = loop {
            if left == 0 {
                break Ok(());
            }
            match self.next(left) {
                Ok(piece) => {
                    left -= piece.1;
                    pieces.push(piece);
                }
                Err(trouble) => break Err(trouble),
            }
        };
        // What there is room for comes, even if it is not all.
        self.dma().read_file(&pieces, file, offset)??;
        ended
    }

    /// Copies `data` to the memory that comes next.
    fn scatter(&mut self, mut data: &[u8]) -> Result<(), Self::Trouble> {
        while !data.is_empty() {
            let (at, n) = self.next(data.len() as u64)?;
            let (part, rest) = data.split_at(n as usize);
            self.dma().write(at, part)?;
            data = rest;
        }
        Ok(())
    }

    /// Fills `data` from the memory that comes next.
    fn gather(&mut self, mut data: &mut [u8]) -> Result<(), Self::Trouble> {
        while !data.is_empty() {
            let (at, n) = self.next(data.len() as u64)?;
            let (part, rest) = data.split_at_mut(n as usize);
            self.dma().read(at, part)?;
            data = rest;
        }
        Ok(())
    }
}

//! A NOR flash chip with the Intel command set (28FxxxJ3 "StrataFlash" datasheet, order 290667; CFI publication 100, command set 0001),
//! eight bits wide, as machines keep firmware and its variables in.
//!
//! In array mode the chip's bank of memory is the processor's own to read and run; a command takes it away until array mode comes back.
//! What is programmed or erased goes to the [`FlashFile`] behind the chip, at once.

use bus::{AccessSize, Device};
use memory::{Ram, Rights};
use regs::*;
use snapshot::{Error, Section};
use state::{Mode, State};
use std::sync::Arc;

mod regs {
    pub const READ_ARRAY: u8 = 0xff;
    pub const READ_ID: u8 = 0x90;
    pub const READ_QUERY: u8 = 0x98;
    pub const READ_STATUS: u8 = 0x70;
    pub const CLEAR_STATUS: u8 = 0x50;
    pub const ERASE: u8 = 0x20;
    pub const CONFIRM: u8 = 0xd0;
    pub const PROGRAM: u8 = 0x40;
    pub const PROGRAM_OTHER: u8 = 0x10;
    pub const WRITE_BUFFER: u8 = 0xe8;
    pub const LOCK: u8 = 0x60;
    /// Status register: ready, and errors of erasing and programming.
    pub const READY: u8 = 1 << 7;
    pub const ERASE_ERROR: u8 = 1 << 5;
    pub const PROGRAM_ERROR: u8 = 1 << 4;
    pub const LOCKED: u8 = 1 << 1;
    /// Intel, 28F640J3.
    pub const ID: [u8; 2] = [0x89, 0x17];
    pub const BUFFER: usize = 32;
}

/// Bytes of an erase block.
pub const BLOCK: u64 = 0x1000;

/// Where a chip's content is kept: called with where in the chip something changed, and what; tells whether it is kept.
pub type FlashFile = Box<dyn FnMut(u64, &[u8]) -> bool + Send>;

/// One chip: a part of a bank of memory, and one memory region over it.
pub struct Flash {
    name: String,
    ram: Arc<Ram>,
    bank: usize,
    start: u64,
    size: u64,
    /// `None`: write-protected.
    file: Option<FlashFile>,
    s: State,
}

impl Flash {
    /// A chip of `size` bytes, whole blocks, over bank `bank` of `ram` from `start` on; without a file it is write-protected.
    pub fn new(
        name: &str,
        ram: Arc<Ram>,
        bank: usize,
        start: u64,
        size: u64,
        file: Option<FlashFile>,
    ) -> Self {
        let f = Self {
            name: name.to_owned(),
            ram,
            bank,
            start,
            size,
            file,
            s: State::default(),
        };
        f.settle();
        f
    }

    /// Array mode is the memory's own.
    fn settle(&self) {
        let rights = match self.s.mode {
            Mode::Array => Rights::Read,
            _ => Rights::Bus,
        };
        self.ram
            .set_bank_rights(self.bank, self.start, self.size, rights);
    }

    fn byte(&self, offset: u64) -> u8 {
        let mut b = [0xff];
        if offset < self.size {
            self.ram
                .read_bank(self.bank, self.start.saturating_add(offset), &mut b);
        }
        b[0]
    }

    /// Puts `bytes` at `offset` and into the file.
    fn store(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return;
        }
        self.ram
            .write_bank(self.bank, self.start.saturating_add(offset), bytes);
        if let Some(file) = &mut self.file
            && !file(offset, bytes)
        {
            self.s.status |= PROGRAM_ERROR;
        }
    }

    /// Programming clears bits and sets none.
    fn program(&mut self, offset: u64, bytes: &[u8]) {
        if self.file.is_none() {
            self.s.status |= PROGRAM_ERROR | LOCKED;
            return;
        }
        let new: Vec<u8> = (offset..)
            .zip(bytes)
            .map(|(o, b)| self.byte(o) & b)
            .collect();
        self.store(offset, &new);
    }

    fn erase(&mut self, offset: u64) {
        if self.file.is_none() {
            self.s.status |= ERASE_ERROR | LOCKED;
            return;
        }
        self.store(offset & !(BLOCK - 1), &[0xff; BLOCK as usize]);
    }

    /// Common flash interface query data (CFI 1.4; the J3's appendix A).
    fn query(&self, offset: u64) -> u8 {
        let log2 = self.size.max(1).ilog2() as u8;
        let blocks = (self.size / BLOCK).saturating_sub(1) as u16;
        match offset {
            0x10 => b'Q',
            0x11 => b'R',
            0x12 => b'Y',
            // Primary command set 1, its table at 0x31.
            0x13 => 1,
            0x15 => 0x31,
            // Supply 2.7 V to 3.6 V.
            0x1b => 0x27,
            0x1c => 0x36,
            // Typical and longest times, as powers of two.
            0x1f..=0x21 => 7,
            0x23..=0x25 => 4,
            0x27 => log2,
            0x2a => BUFFER.ilog2() as u8,
            0x2c => 1,
            0x2d => blocks as u8,
            0x2e => (blocks >> 8) as u8,
            0x2f => (BLOCK >> 8) as u8,
            0x30 => (BLOCK >> 16) as u8,
            0x31 => b'P',
            0x32 => b'R',
            0x33 => b'I',
            0x34 => b'1',
            0x35 => b'0',
            _ => 0,
        }
    }

    fn read(&self, offset: u64) -> u8 {
        match self.s.mode {
            Mode::Array => self.byte(offset),
            Mode::Id => match offset & (BLOCK - 1) {
                n @ 0..2 => ID.get(n as usize).copied().unwrap_or(0),
                2 => u8::from(self.file.is_none()),
                _ => 0,
            },
            Mode::Query => self.query(offset & 0xff),
            _ => self.s.status,
        }
    }

    fn write(&mut self, offset: u64, value: u8) {
        self.s.mode = match self.s.mode {
            Mode::Erase => {
                self.s.status |= READY;
                match value {
                    CONFIRM => self.erase(offset),
                    _ => self.s.status |= ERASE_ERROR | PROGRAM_ERROR,
                }
                Mode::Status
            }
            Mode::Program => {
                self.s.status |= READY;
                self.program(offset, &[value]);
                Mode::Status
            }
            Mode::Count => {
                self.s.buffer.clear();
                self.s.left = u32::from(value).min(BUFFER as u32 - 1) + 1;
                Mode::Buffer
            }
            Mode::Buffer if self.s.left > 0 => {
                self.s.left -= 1;
                if self.s.buffer.len() < BUFFER {
                    self.s.buffer.push((offset, value));
                }
                Mode::Buffer
            }
            Mode::Buffer => {
                let buffer = std::mem::take(&mut self.s.buffer);
                match value {
                    CONFIRM => {
                        for (at, byte) in buffer {
                            self.program(at, &[byte]);
                        }
                    }
                    _ => self.s.status |= ERASE_ERROR | PROGRAM_ERROR,
                }
                Mode::Status
            }
            Mode::Lock => Mode::Status,
            Mode::Array | Mode::Id | Mode::Query | Mode::Status => match value {
                READ_ID => Mode::Id,
                READ_QUERY => Mode::Query,
                READ_STATUS => Mode::Status,
                // A chip would go on to say that it is ready; OVMF takes one that does for ROM.
                CLEAR_STATUS => {
                    self.s.status = 0;
                    Mode::Array
                }
                ERASE => Mode::Erase,
                PROGRAM | PROGRAM_OTHER => Mode::Program,
                WRITE_BUFFER => {
                    self.s.status |= READY;
                    Mode::Count
                }
                LOCK => Mode::Lock,
                READ_ARRAY => Mode::Array,
                _ => self.s.mode,
            },
        };
    }
}

impl Device for Flash {
    fn name(&self) -> &str {
        &self.name
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        (0..size.bytes()).fold(0, |v, i| {
            v | u64::from(self.read(offset.wrapping_add(i))) << (8 * i)
        })
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        let was = self.s.mode;
        // The chip has eight data lines: a wide store is one cycle a byte.
        for i in 0..size.bytes() {
            self.write(offset.wrapping_add(i), (value >> (8 * i)) as u8);
        }
        if (was == Mode::Array) != (self.s.mode == Mode::Array) {
            self.settle();
        }
    }

    fn reset(&mut self) {
        self.s = State::default();
        self.settle();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            name,
            ram: _,
            bank: _,
            start: _,
            size: _,
            file: _,
            s,
        } = self;
        // The content is the file's.
        Section::new(name, state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.s = section.read(&self.name, state::VERSION)?;
        self.settle();
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Mode {
        #[default]
        Array,
        Id,
        Query,
        Status,
        Erase,
        Program,
        Count,
        Buffer,
        Lock,
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        pub mode: Mode,
        pub status: u8,
        /// Bytes that the write buffer still waits for.
        pub left: u32,
        pub buffer: Vec<(u64, u8)>,
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                mode: Mode::Array,
                status: super::READY,
                left: 0,
                buffer: Vec::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fuzz;
    use std::sync::Mutex;

    const B: AccessSize = AccessSize::Byte;

    type Log = Arc<Mutex<Vec<(u64, usize)>>>;

    fn chip(writable: bool) -> (Flash, Arc<Ram>, Log) {
        let ram = Ram::with_banks(0x1000, &[0x8000]).unwrap();
        let log = Log::default();
        let seen = log.clone();
        let file: FlashFile = Box::new(move |at, bytes| {
            seen.lock().unwrap().push((at, bytes.len()));
            true
        });
        let file = writable.then_some(file);
        let f = Flash::new("flash0", ram.clone(), 0, 0x4000, 0x4000, file);
        (f, ram, log)
    }

    fn put(f: &mut Flash, bytes: &[(u64, u8)]) {
        for &(at, b) in bytes {
            f.mmio_write(0, at, B, b.into());
        }
    }

    fn get(f: &mut Flash, at: u64) -> u8 {
        f.mmio_read(0, at, B) as u8
    }

    #[test]
    fn programs_and_erases() {
        let (mut f, ram, log) = chip(true);
        put(&mut f, &[(0x1005, 0x20), (0x1005, 0xd0)]);
        assert_eq!(get(&mut f, 0), 0x80, "status");
        put(&mut f, &[(0x1005, 0x40), (0x1005, 0x5a), (0, 0xff)]);
        assert_eq!(get(&mut f, 0x1005), 0x5a);
        assert_eq!(get(&mut f, 0x1006), 0xff);
        assert_eq!(get(&mut f, 0x0fff), 0);
        put(&mut f, &[(0x1005, 0x10), (0x1005, 0xf0), (0, 0xff)]);
        assert_eq!(get(&mut f, 0x1005), 0x50, "bits are only cleared");
        assert_eq!(
            *log.lock().unwrap(),
            [(0x1000, 0x1000), (0x1005, 1), (0x1005, 1)]
        );
        let mut b = [0];
        ram.read_bank(0, 0x5005, &mut b);
        assert_eq!(b, [0x50]);
    }

    #[test]
    fn writes_from_its_buffer() {
        let (mut f, ..) = chip(true);
        put(&mut f, &[(0, 0x20), (0, 0xd0), (0, 0xe8)]);
        assert_eq!(get(&mut f, 0), 0x80);
        put(
            &mut f,
            &[(0, 1), (0x10, 1), (0x11, 2), (0, 0xd0), (0, 0xff)],
        );
        assert_eq!(f.mmio_read(0, 0x10, AccessSize::Word), 0x201);
        put(&mut f, &[(0, 0xe8), (0, 0), (0x12, 3), (0, 0x55)]);
        assert_eq!(get(&mut f, 0), 0xb0, "no confirmation");
        put(&mut f, &[(0, 0x50)]);
        assert_eq!(get(&mut f, 0x12), 0xff);
    }

    #[test]
    fn tells_who_it_is() {
        let (mut f, ..) = chip(true);
        put(&mut f, &[(0, 0x90)]);
        assert_eq!(f.mmio_read(0, 0, AccessSize::Word), 0x1789);
        put(&mut f, &[(0, 0x98)]);
        let qry: Vec<u8> = (0x10..0x13).map(|n| get(&mut f, n)).collect();
        assert_eq!(qry, b"QRY");
        assert_eq!(get(&mut f, 0x27), 14);
        assert_eq!((get(&mut f, 0x2d), get(&mut f, 0x2f)), (3, 0x10));
    }

    #[test]
    fn memory_shows_in_array_mode_only() {
        let (mut f, ram, _) = chip(true);
        ram.place(0, Some(arch::GuestPhys(0xffff_8000)));
        assert_eq!(ram.rights(0xf_fffc), Rights::Read);
        put(&mut f, &[(0, 0x70)]);
        assert_eq!(ram.rights(0xf_fffc), Rights::Bus);
        assert_eq!(ram.rights(0xf_fffb), Rights::ReadWrite, "not its part");
        put(&mut f, &[(0, 0xff)]);
        assert_eq!(ram.rights(0xf_fffc), Rights::Read);
    }

    #[test]
    fn a_protected_chip_stays_as_it_is() {
        let (mut f, _, log) = chip(false);
        put(&mut f, &[(0, 0x20), (0, 0xd0)]);
        assert_eq!(get(&mut f, 0), 0xa2);
        put(&mut f, &[(0, 0x50), (0, 0x40), (0, 0), (0, 0x70)]);
        assert_eq!(get(&mut f, 0), 0x92);
        assert!(log.lock().unwrap().is_empty());
    }

    #[test]
    fn survives_anything() {
        let (mut f, ..) = chip(true);
        let mut z = Fuzz::new(0x28f);
        for _ in 0..100_000 {
            let at = z.below(0x5000);
            let commands = [0xff, 0x90, 0x98, 0x70, 0x50, 0x20, 0xd0, 0x40, 0xe8];
            let value = match z.flip() {
                true => commands[z.below(9) as usize],
                false => z.value(),
            };
            f.mmio_write(0, at, z.size(), value);
            f.mmio_read(0, z.value(), AccessSize::Qword);
        }
        let s = f.save().unwrap();
        f.reset();
        f.restore(&s).unwrap();
    }
}

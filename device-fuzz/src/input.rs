//! An input's bytes, read as choices: whatever they are, they mean something.

use bus::AccessSize;

/// The memory that DMA is pointed at, for the most part.
pub const PLAY: u64 = 0x10_0000;
/// Its size: what two bytes can choose a place in, in units of 16 bytes.
pub const PLAY_BYTES: u64 = 0x10_0000;
/// All of RAM: inputs also try its end.
pub const RAM_BYTES: u64 = 4 << 20;

/// The rest of an input. At its end every choice is the first one.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left to choose by.
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// At most the next `n` bytes.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (part, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        part
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let part = self.take(bytes).iter().rev();
        part.fold(0, |v, b| v << 8 | u64::from(*b))
    }
    pub fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }
    pub fn word(&mut self) -> u16 {
        self.number(2) as u16
    }
    pub fn dword(&mut self) -> u32 {
        self.number(4) as u32
    }
    pub fn qword(&mut self) -> u64 {
        self.number(8)
    }
    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let number = match n {
            0..=0x100 => self.number(1),
            0x101..=0x1_0000 => self.number(2),
            _ => self.number(8),
        };
        number % n
    }
    pub fn flip(&mut self) -> bool {
        self.byte() & 1 != 0
    }
    /// True once in `n` times, and never at the input's end.
    pub fn rarely(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    /// Of the widths that a processor has.
    pub fn size(&mut self) -> AccessSize {
        use AccessSize::*;
        self.choose(&[Byte, Word, Dword, Byte, Word, Dword, Dword, Qword])
    }

    /// A number of any magnitude; edges and addresses of memory included.
    pub fn value(&mut self) -> u64 {
        match self.byte() % 12 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (self.byte() & 63),
            3 => (1u64 << (self.byte() & 63)).wrapping_sub(1),
            4 => self.address(),
            5 => self.qword(),
            6 | 7 => self.dword().into(),
            8 | 9 => self.word().into(),
            _ => self.byte().into(),
        }
    }

    /// Where memory is, as a rule.
    pub fn address(&mut self) -> u64 {
        match self.byte() % 16 {
            0 => self.qword(),
            1 => (RAM_BYTES - 0x80).wrapping_add(self.byte().into()),
            2 => 0u64.wrapping_sub(self.byte().into()),
            3 => 0xa_0000 - 0x80 + u64::from(self.byte()),
            4..7 => PLAY + u64::from(self.word()) % PLAY_BYTES,
            _ => PLAY + 16 * u64::from(self.word()) % PLAY_BYTES,
        }
    }

    /// A number of bytes that a driver might ask for.
    pub fn length(&mut self) -> u32 {
        match self.byte() % 8 {
            0 => self.dword(),
            1 => self.word().into(),
            2 | 3 => self.byte().into(),
            4 => 4096,
            _ => 512 * (u32::from(self.byte()) % 32),
        }
    }
}

//! Segment selectors, descriptors and the hidden part of segment registers (Vol. 3A, 3.4).

use serde::{Deserialize, Serialize};

/// A segment selector (Vol. 3A, 3.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Selector(pub u16);

impl Selector {
    /// Requested privilege level.
    pub const fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }
    /// TI: the descriptor stands in the LDT.
    pub const fn is_local(self) -> bool {
        self.0 & 4 != 0
    }
    /// Byte offset of the descriptor in its table.
    pub const fn offset(self) -> u32 {
        (self.0 & !7) as u32
    }
    /// A null selector: index 0 of the GDT, whatever its RPL.
    pub const fn is_null(self) -> bool {
        self.0 & !3 == 0
    }
    /// The selector as it stands in an error code: RPL cleared.
    pub const fn error_code(self) -> u32 {
        (self.0 & !3) as u32
    }
}

/// An 8-byte segment descriptor (Vol. 3A, 3.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    pub const fn base(self) -> u64 {
        (self.0 >> 16 & 0xff_ffff) | (self.0 >> 56 & 0xff) << 24
    }
    /// The limit in bytes: G applied.
    pub const fn limit(self) -> u32 {
        let raw = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.granularity() {
            raw << 12 | 0xfff
        } else {
            raw
        }
    }
    /// Attribute bits 8..24 of the second doubleword: see [`Segment::attributes`].
    pub const fn attributes(self) -> u16 {
        (self.0 >> 40) as u16 & 0xf0ff
    }
    pub const fn granularity(self) -> bool {
        self.0 >> 55 & 1 != 0
    }
    pub const fn present(self) -> bool {
        self.0 >> 47 & 1 != 0
    }
    pub const fn dpl(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }
    /// S: a code or data segment, not a system descriptor.
    pub const fn is_code_or_data(self) -> bool {
        self.0 >> 44 & 1 != 0
    }
    /// The type field (Vol. 3A, tables 3-1 and 3-2).
    pub const fn kind(self) -> u8 {
        (self.0 >> 40 & 0xf) as u8
    }
    pub const fn is_code(self) -> bool {
        self.is_code_or_data() && self.kind() & 8 != 0
    }
    pub const fn is_data(self) -> bool {
        self.is_code_or_data() && self.kind() & 8 == 0
    }
    pub const fn is_conforming(self) -> bool {
        self.kind() & 4 != 0
    }
    /// R of a code segment, W of a data segment.
    pub const fn readable_or_writable(self) -> bool {
        self.kind() & 2 != 0
    }
    /// L: 64-bit code.
    pub const fn long(self) -> bool {
        self.0 >> 53 & 1 != 0
    }
    /// D/B.
    pub const fn default_big(self) -> bool {
        self.0 >> 54 & 1 != 0
    }
}

/// A segment register with its hidden part (Vol. 3A, 3.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct Segment {
    pub base: u64,
    /// Last valid byte offset (for expand-down segments: the last invalid one).
    pub limit: u32,
    pub selector: u16,
    /// Bits 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G.
    pub attributes: u16,
}

impl Segment {
    /// What the attributes of a flat, present, writable, accessed data segment of real mode are.
    pub const REAL_DATA: u16 = 0x93;
    /// The same for CS at reset.
    pub const REAL_CODE: u16 = 0x9b;

    /// The hidden part as a descriptor fills it.
    pub const fn from_descriptor(selector: u16, d: Descriptor) -> Self {
        Self {
            base: d.base(),
            limit: d.limit(),
            selector,
            attributes: d.attributes(),
        }
    }
    /// A real-mode (or virtual-8086) segment: base is the selector times 16 (Vol. 3A, 20.1.1).
    pub const fn real(selector: u16, attributes: u16) -> Self {
        Self {
            base: (selector as u64) << 4,
            limit: 0xffff,
            selector,
            attributes,
        }
    }
    pub const fn kind(&self) -> u8 {
        (self.attributes & 0xf) as u8
    }
    pub const fn present(&self) -> bool {
        self.attributes & 0x80 != 0
    }
    pub const fn dpl(&self) -> u8 {
        (self.attributes >> 5 & 3) as u8
    }
    pub const fn long(&self) -> bool {
        self.attributes & 0x2000 != 0
    }
    pub const fn default_big(&self) -> bool {
        self.attributes & 0x4000 != 0
    }
    pub const fn is_code(&self) -> bool {
        self.attributes & 0x18 == 0x18
    }
    /// A data segment whose offsets run above the limit (Vol. 3A, 3.4.5.1, E).
    pub const fn expand_down(&self) -> bool {
        self.attributes & 0x1c == 0x14
    }
    /// W of a data segment.
    pub const fn writable(&self) -> bool {
        self.attributes & 0x1a == 0x12
    }
    /// R of a code segment; data segments are always readable.
    pub const fn readable(&self) -> bool {
        !self.is_code() || self.attributes & 2 != 0
    }
}

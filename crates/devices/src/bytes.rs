//! Wide accesses to chips on an 8-bit bus: the bus controller runs one cycle a byte, lowest address first.

use bus::AccessSize;

/// One read cycle a byte.
pub(crate) fn read(offset: u16, size: AccessSize, mut byte: impl FnMut(u16) -> u8) -> u32 {
    (0..size.bytes().min(4) as u16).fold(0, |v, i| {
        v | u32::from(byte(offset.wrapping_add(i))) << (8 * i)
    })
}

/// One write cycle a byte.
pub(crate) fn write(offset: u16, size: AccessSize, value: u32, mut byte: impl FnMut(u16, u8)) {
    for i in 0..size.bytes().min(4) as u16 {
        byte(offset.wrapping_add(i), (value >> (8 * i)) as u8);
    }
}

/// The part of the little-endian register `value` of `width` bytes that byte `offset` selects.
pub(crate) fn of(value: u64, offset: u16) -> u8 {
    value
        .checked_shr(8 * u32::from(offset))
        .map_or(0, |v| v as u8)
}

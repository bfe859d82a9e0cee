//! Fields of structures in files: total readers, since the files come from strangers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// `N` bytes at `offset`, zeroes where there are none.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut a = [0; N];
    if let Some(found) = offset.checked_add(N).and_then(|end| bytes.get(offset..end)) {
        a.copy_from_slice(found);
    }
    a
}

pub(crate) fn le16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array(bytes, offset))
}

pub(crate) fn le32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

pub(crate) fn le64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

pub(crate) fn be32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(array(bytes, offset))
}

pub(crate) fn be64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(array(bytes, offset))
}

/// Fills `into` from the file; zeroes beyond its end.
pub(crate) fn read_padded(file: &File, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match file.read_at(into, at) {
            Ok(0) => {
                into.fill(0);
                break;
            }
            Ok(n) => {
                at = at.saturating_add(n as u64);
                into = into.get_mut(n..).unwrap_or_default();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

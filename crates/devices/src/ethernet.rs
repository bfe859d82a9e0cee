//! What Ethernet cards share (IEEE 802.3): the frame check sequence, the shortest frame, groups.

/// Bytes of the shortest frame without its check sequence (3.2.8).
pub(crate) const SHORTEST: usize = 60;
/// Bytes of the frame check sequence.
pub(crate) const FCS: usize = 4;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut all = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut c, mut k) = (n as u32, 0);
        while k < 8 {
            c = c >> 1 ^ 0xedb8_8320 * (c & 1);
            k += 1;
        }
        all[n] = c;
        n += 1;
    }
    all
}

/// The remainder before it is inverted, in the order in which bits are sent.
fn remainder(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |c, b| {
        let index = (c ^ u32::from(*b)) as u8;
        c >> 8 ^ TABLE.get(usize::from(index)).copied().unwrap_or_default()
    })
}

/// The frame check sequence (3.2.9), as it stands behind the frame in memory when read little-endian.
pub(crate) fn fcs(frame: &[u8]) -> u32 {
    !remainder(frame)
}

/// The six bits with which cards look a group up in their 64-bit filter: the first of the address's check sequence.
pub(crate) fn group_hash(address: [u8; 6]) -> u8 {
    (remainder(&address).reverse_bits() >> 26) as u8
}

/// The address that a frame is for.
pub(crate) fn destination(frame: &[u8]) -> [u8; 6] {
    frame.first_chunk().copied().unwrap_or([0; 6])
}

/// Whether an address is that of a group, everyone among them.
pub(crate) fn is_group(address: [u8; 6]) -> bool {
    address[0] & 1 != 0
}

/// A frame as it is on the cable: padded to the shortest one, its check sequence behind it.
pub(crate) fn on_the_cable(frame: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(frame.len().max(SHORTEST) + FCS);
    all.extend_from_slice(frame);
    all.resize(frame.len().max(SHORTEST), 0);
    let sum = fcs(&all);
    all.extend(sum.to_le_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sequences_are_those_of_the_standard() {
        assert_eq!(fcs(b"123456789"), 0xcbf4_3926);
        // 01:00:5e:00:00:01, all hosts, has hash 31 in Linux' and BSD's drivers.
        assert_eq!(group_hash([1, 0, 0x5e, 0, 0, 1]), 31);
        assert_eq!(group_hash([0xff; 6]), 63);
        let short = on_the_cable(&[1, 2, 3]);
        assert_eq!(short.len(), 64);
        assert_eq!(short[60..], fcs(&short[..60]).to_le_bytes());
    }
}

//! Checksums, and the cutting of TCP and UDP data into segments (3.4 to 3.6).

use super::transmit::Context;

/// The Internet's sum (RFC 1071), folded, not inverted.
pub(super) fn sum(bytes: &[u8], start: u32) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut all = pairs.iter().fold(u64::from(start), |s, p| {
        s + u64::from(u16::from_be_bytes(*p))
    });
    if let [last] = rest {
        all += u64::from(*last) << 8;
    }
    while all > 0xffff {
        all = (all & 0xffff) + (all >> 16);
    }
    all as u16
}

/// Puts the sum of the bytes from `start` to `end` (0: the last; inclusive) to `at`; offsets beyond the frame do nothing. What stands at `at`
/// is part of the sum: the driver puts the pseudo header's there.
pub(super) fn insert(frame: &mut [u8], start: u8, at: u8, end: u16) {
    let last = match end {
        0 => frame.len(),
        end => frame.len().min(usize::from(end) + 1),
    };
    let Some(covered) = frame.get(usize::from(start)..last) else {
        return;
    };
    let value = !sum(covered, 0);
    put(frame, usize::from(at), value.to_be_bytes());
}

fn put<const N: usize>(frame: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(&value);
    }
}

fn get<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let part = frame.get(at..at + N).unwrap_or_default();
    part.try_into().unwrap_or([0; N])
}

/// TCP's flags that only the last segment has: FIN and PSH.
const LAST_ONLY: u8 = 9;

/// How many segments a packet is cut into as the context says (3.5); `None` if the headers do not fit the packet.
pub(super) fn segments(packet: &[u8], c: &Context) -> Option<usize> {
    let header = usize::from(c.header_length);
    let data = packet.len().checked_sub(header)?;
    let fits = c.ip_start <= c.header_length && c.tu_start <= c.header_length;
    (c.segment != 0 && header > 0 && fits).then(|| data.div_ceil(c.segment.into()).max(1))
}

/// Segment `n` of `count`: the headers, with lengths, identification, sequence number and flags of its own, and its data. Checksums are not
/// put in yet.
pub(super) fn segment(packet: &[u8], c: &Context, n: usize, count: usize) -> Vec<u8> {
    let (header, data) = packet
        .split_at_checked(c.header_length.into())
        .unwrap_or((packet, &[]));
    let (ip, transport) = (usize::from(c.ip_start), usize::from(c.tu_start));
    let from = n * usize::from(c.segment);
    let part = data.get(from..).unwrap_or_default();
    let part = part.get(..c.segment.into()).unwrap_or(part);
    let mut frame = header.to_vec();
    frame.extend_from_slice(part);
    let length = (frame.len() - ip.min(frame.len())) as u16;
    if c.is_ipv4 {
        put(&mut frame, ip + 2, length.to_be_bytes());
        let ident = u16::from_be_bytes(get(&frame, ip + 4)).wrapping_add(n as u16);
        put(&mut frame, ip + 4, ident.to_be_bytes());
    } else {
        // Behind IPv6's own 40 bytes.
        put(&mut frame, ip + 4, length.wrapping_sub(40).to_be_bytes());
    }
    let length = (frame.len() - transport.min(frame.len())) as u16;
    if c.is_tcp {
        let sequence = u32::from_be_bytes(get(&frame, transport + 4));
        let sequence = sequence.wrapping_add(from as u32);
        put(&mut frame, transport + 4, sequence.to_be_bytes());
        if n + 1 < count {
            let [flags] = get(&frame, transport + 13);
            put(&mut frame, transport + 13, [flags & !LAST_ONLY]);
        }
    } else {
        put(&mut frame, transport + 4, length.to_be_bytes());
    }
    // The pseudo header's sum came without the length, which only now is known.
    let partial = sum(&get::<2>(&frame, c.tu_sum.into()), length.into());
    put(&mut frame, c.tu_sum.into(), partial.to_be_bytes());
    frame
}

/// What a received frame's checksums are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the IPv4 header's is right, if there is one.
    pub ip: Option<bool>,
    /// The same of TCP's or UDP's.
    pub transport: Option<bool>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Looks at an IPv4 packet that is whole (3.2.9).
pub(super) fn verify(frame: &[u8]) -> Verdict {
    let mut found = Verdict::default();
    let Some((head, packet)) = frame.split_first_chunk::<14>() else {
        return found;
    };
    let (Some(first), true) = (packet.first(), head.ends_with(&[8, 0])) else {
        return found;
    };
    let header = usize::from(first & 15) * 4;
    let total = usize::from(u16::from_be_bytes(get(packet, 2)));
    let (true, Some(packet)) = (first >> 4 == 4 && header >= 20, packet.get(..total)) else {
        return found;
    };
    let Some(ip) = packet.get(..header) else {
        return found;
    };
    found.ip = Some(sum(ip, 0) == 0xffff);
    let fragment = u16::from_be_bytes(get(ip, 6)) & 0x3fff != 0;
    let body = packet.get(header..).unwrap_or_default();
    let [protocol] = get(ip, 9);
    let unsummed = protocol == UDP && get::<2>(body, 6) == [0, 0];
    if !fragment && matches!(protocol, TCP | UDP) && !unsummed {
        let addresses = ip.get(12..20).unwrap_or_default();
        let pseudo = sum(addresses, u32::from(protocol) + body.len() as u32);
        found.transport = Some(sum(body, pseudo.into()) == 0xffff);
    }
    found
}

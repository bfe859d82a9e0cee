//! SMBIOS tables (DMTF DSP0134, System Management BIOS Reference Specification 2.8): what a guest shows as its hardware.
//!
//! The structures that a system must have (6.2, "Required structures"), but type 0, the firmware's own.

/// The entry point and the structures, to be joined by the firmware, which knows where they stand.
pub(crate) struct Tables {
    pub anchor: Vec<u8>,
    pub tables: Vec<u8>,
}

#[derive(Default)]
struct Structures {
    bytes: Vec<u8>,
    count: u16,
    longest: u16,
}

impl Structures {
    /// Adds a structure: its type, handle, formatted part behind the header, and strings.
    fn add(&mut self, kind: u8, handle: u16, body: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        self.bytes.extend([kind, body.len() as u8 + 4]);
        self.bytes.extend(handle.to_le_bytes());
        self.bytes.extend(body);
        for s in strings {
            self.bytes.extend(s.bytes());
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        self.longest = self.longest.max((self.bytes.len() - start) as u16);
    }
}

const CHASSIS: u16 = 0x300;
const ARRAY: u16 = 0x1000;

/// The tables of a machine.
pub(crate) fn tables(memory: u64, cpus: u8) -> Tables {
    let mut s = Structures::default();
    let maker = "Ferry";
    // Type 1, system: maker 1, product 2, version 3; no serial number; UUID zero means none; woken by the power switch.
    let mut system = vec![1, 2, 3, 0];
    system.extend([0; 16]);
    system.extend([6, 0, 0]);
    s.add(
        1,
        0x100,
        &system,
        &[maker, "Ferry PC", env!("CARGO_PKG_VERSION")],
    );
    // Type 3, chassis: other; states safe.
    let chassis = [1, 1, 0, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    s.add(3, CHASSIS, &chassis, &[maker]);
    for cpu in 0..cpus {
        // Type 4, processor: central, family unknown, enabled, no cache handles, one core and thread.
        let mut p = vec![1, 3, 2, 2];
        p.extend([0; 8]);
        p.extend([3, 0, 0, 0, 0xd0, 0x07, 0xd0, 0x07, 0x41, 1]);
        p.extend([0xff; 6]);
        p.extend([0, 0, 0, 1, 1, 1, 0x04, 0, 2, 0]);
        s.add(4, 0x400 + u16::from(cpu), &p, &["CPU", maker]);
    }
    let mib = memory >> 20;
    let kib = memory >> 10;
    // Type 16, memory array: on the board, system memory, multi-bit correction, one device.
    let mut array = vec![1, 3, 6];
    let capacity = u32::try_from(kib).ok().filter(|k| *k < 1 << 31);
    array.extend(capacity.unwrap_or(1 << 31).to_le_bytes());
    array.extend(0xfffeu16.to_le_bytes());
    array.extend(1u16.to_le_bytes());
    array.extend(if capacity.is_some() { 0 } else { memory }.to_le_bytes());
    s.add(16, ARRAY, &array, &[]);
    // Type 17, memory device: RAM in a DIMM.
    let mut device = ARRAY.to_le_bytes().to_vec();
    device.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let size = u16::try_from(mib).ok().filter(|m| *m < 0x7fff);
    device.extend(size.unwrap_or(0x7fff).to_le_bytes());
    device.extend([9, 0, 1, 0, 7, 2, 0, 0, 0, 2, 0, 0, 0, 0]);
    let extended = if size.is_some() { 0 } else { mib as u32 };
    device.extend(extended.to_le_bytes());
    device.extend([0; 8]);
    s.add(17, 0x1100, &device, &["DIMM 0", maker]);
    // Type 19, memory array mapped address.
    let low = memory.min(crate::layout::LOW_RAM_LIMIT);
    let ranges = [(0, low), (crate::layout::HIGH_RAM, memory - low)];
    for (n, (start, size)) in (0..).zip(ranges).filter(|r| r.1.1 > 0) {
        let mut mapped = Vec::new();
        mapped.extend(((start >> 10) as u32).to_le_bytes());
        mapped.extend(
            (((start + size) >> 10) as u32)
                .wrapping_sub(1)
                .to_le_bytes(),
        );
        mapped.extend(ARRAY.to_le_bytes());
        mapped.push(1);
        mapped.extend([0; 16]);
        s.add(19, 0x1300 + n, &mapped, &[]);
    }
    // Type 32, boot: no errors.
    s.add(32, 0x2000, &[0; 7], &[]);
    s.add(127, 0x7f00, &[], &[]);
    Tables {
        anchor: anchor(&s).to_vec(),
        tables: s.bytes,
    }
}

/// The entry point (5.2.1) of version 2.8, the structures' address left to the firmware.
fn anchor(s: &Structures) -> [u8; 31] {
    let mut a = [0; 31];
    a[..4].copy_from_slice(b"_SM_");
    a[5] = 31;
    a[6] = 2;
    a[7] = 8;
    a[8..10].copy_from_slice(&s.longest.to_le_bytes());
    a[16..21].copy_from_slice(b"_DMI_");
    a[22..24].copy_from_slice(&(s.bytes.len() as u16).to_le_bytes());
    a[28..30].copy_from_slice(&s.count.to_le_bytes());
    a[30] = 0x28;
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    a[21] = sum(&a[16..]);
    a[4] = sum(&a);
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_can_be_walked() {
        for memory in [64 << 20, 3 << 30, 64u64 << 30] {
            let t = tables(memory, 2);
            let a = &t.anchor;
            assert_eq!(a.iter().fold(0u8, |s, b| s.wrapping_add(*b)), 0);
            assert_eq!(a[16..].iter().fold(0u8, |s, b| s.wrapping_add(*b)), 0);
            let (mut at, mut kinds) = (0, Vec::new());
            while at < t.tables.len() {
                let (kind, length) = (t.tables[at], usize::from(t.tables[at + 1]));
                kinds.push((kind, length));
                let strings = &t.tables[at + length..];
                let end = strings.windows(2).position(|w| w == [0, 0]).unwrap();
                at += length + end + 2;
            }
            assert_eq!(at, t.tables.len());
            assert_eq!(kinds.len(), usize::from(a[28]));
            // Lengths of version 2.8 (table 3 and the structures' own).
            for (kind, length) in kinds {
                let want = match kind {
                    1 => 0x1b,
                    3 => 0x16,
                    4 => 0x2a,
                    16 => 0x17,
                    17 => 0x28,
                    19 => 0x1f,
                    32 => 0x0b,
                    _ => 4,
                };
                assert_eq!(length, want, "type {kind}");
            }
        }
    }
}

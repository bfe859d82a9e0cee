//! The memory map as firmware hands it to a kernel (ACPI 6.5, section 15, "System Address Map Interfaces").

use crate::layout;
use std::ops::Range;

/// What a range of the map is (ACPI 6.5, table 15.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Free for the operating system.
    Usable = 1,
    /// Not to be touched.
    Reserved = 2,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub start: u64,
    pub size: u64,
    pub kind: Kind,
}

impl Region {
    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// The map of one machine, in ascending order and without overlaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    regions: Vec<Region>,
}

impl MemoryMap {
    /// The map of a machine with this many bytes of RAM, laid out as `memory::Ram` does.
    pub fn new(memory: u64) -> Self {
        let usable = |start: u64, end: u64| Region {
            start,
            size: end.saturating_sub(start),
            kind: Kind::Usable,
        };
        let reserved = |start: u64, end: u64| Region {
            kind: Kind::Reserved,
            ..usable(start, end)
        };
        let low = memory.min(layout::LOW_RAM_LIMIT);
        let high = layout::HIGH_RAM.saturating_add(memory - low);
        let mut regions = vec![
            usable(0, layout::EBDA),
            reserved(layout::EBDA, layout::ADAPTERS),
            reserved(layout::ACPI_TABLES.0, layout::FIRMWARE_END),
            usable(layout::FIRMWARE_END, low),
            usable(layout::HIGH_RAM, high),
        ];
        regions.retain(|r| r.size > 0);
        Self { regions }
    }

    /// All ranges.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// All RAM, whoever uses it: (start, bytes).
    pub fn ram(&self) -> Vec<(u64, u64)> {
        let low = self.low_end();
        let high = self.usable().filter(|r| r.start >= layout::HIGH_RAM);
        let high = high.map(|r| (r.start, r.size));
        std::iter::once((0, low)).chain(high).collect()
    }

    /// End of the RAM below 4 GiB.
    pub fn low_end(&self) -> u64 {
        self.usable()
            .map(Region::end)
            .filter(|&e| e <= layout::HIGH_RAM)
            .max()
            .unwrap_or(0)
    }

    /// Bytes of usable RAM.
    pub fn usable_bytes(&self) -> u64 {
        self.usable().map(|r| r.size).sum()
    }

    /// Whether a kernel may have all of these bytes: usable RAM at or above 1 MiB, or conventional memory beside what the loader puts there.
    pub fn free(&self, start: u64, size: u64) -> bool {
        let conventional = [
            layout::BOOT_INFO_END..layout::COMMAND_LINE.0,
            layout::COMMAND_LINE_END..layout::EBDA,
        ];
        let low = |r: &Range<u64>| {
            start >= r.start && start.checked_add(size).is_some_and(|end| end <= r.end)
        };
        self.holds(start, size) || conventional.iter().any(low)
    }

    /// Whether all of these bytes are usable RAM at or above 1 MiB.
    pub fn holds(&self, start: u64, size: u64) -> bool {
        let Some(end) = start.checked_add(size) else {
            return false;
        };
        start >= layout::FIRMWARE_END && self.usable().any(|r| r.start <= start && end <= r.end())
    }

    fn usable(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(|r| r.kind == Kind::Usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_has_no_high_range() {
        let m = MemoryMap::new(64 << 20);
        assert_eq!(m.regions().len(), 4);
        assert_eq!(m.low_end(), 64 << 20);
        assert!(m.holds(1 << 20, 63 << 20));
        assert!(!m.holds(1 << 20, (63 << 20) + 1));
        assert!(!m.holds(0, 16));
        assert!(m.free(1 << 20, 63 << 20));
        assert!(m.free(0x8000, 0x1_8000) && m.free(0x7_c000, 0x2_3c00));
        assert!(
            !m.free(0x7fff, 2)
                && !m.free(0x1_ffff, 2)
                && !m.free(0x2_ffff, 2)
                && !m.free(0x9_fbff, 2)
        );
        assert!(!m.free(0x9_0000, u64::MAX));
        assert!(!m.holds(u64::MAX, 2));
    }

    #[test]
    fn a_large_machine_goes_on_above_the_hole() {
        let m = MemoryMap::new(4 << 30);
        assert_eq!(m.low_end(), layout::LOW_RAM_LIMIT);
        assert!(m.holds(layout::HIGH_RAM, 1 << 30));
        assert!(m.regions().windows(2).all(|w| w[0].end() <= w[1].start));
    }

    #[test]
    fn the_map_agrees_with_the_ram() {
        for bytes in [4 << 20, layout::LOW_RAM_LIMIT, layout::LOW_RAM_LIMIT + 4096] {
            let ram = memory::Ram::new(bytes).unwrap();
            let m = MemoryMap::new(bytes);
            let last = ram.ranges().last().map(|(at, size)| at.0 + size);
            assert_eq!(m.regions().last().map(Region::end), last);
            assert_eq!(m.low_end(), ram.ranges()[0].1);
        }
    }
}

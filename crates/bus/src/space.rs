//! One address space of the bus: ranges placed for good, and windows that the guest moves while the machine runs.
//!
//! Overlaps are the guest's own doing and harmless: what was placed for good answers first, then the window made first.
//! Invariant: the list that accesses look into is sorted and without overlaps.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

/// Where a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: u64,
    pub last: u64,
    /// The address of the region's first byte, which another range may hide.
    pub origin: u64,
    pub device: usize,
    pub region: usize,
}

#[derive(Debug, Default)]
struct Ranges {
    fixed: Vec<Range>,
    windows: Vec<(usize, usize, Option<RangeInclusive<u64>>)>,
    /// What accesses look into.
    seen: Vec<Range>,
}

/// Ports or guest-physical addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space(Arc<RwLock<Ranges>>);

impl Space {
    /// Who answers at `at`.
    pub(crate) fn find(&self, at: u64) -> Option<Range> {
        let r = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let i = r.seen.partition_point(|r| r.last < at);
        r.seen.get(i).filter(|r| r.first <= at).copied()
    }

    /// All ranges: device, first, last.
    pub(crate) fn seen(&self) -> Vec<(usize, u64, u64)> {
        let r = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let seen = r.seen.iter().map(|r| (r.device, r.first, r.last));
        seen.collect()
    }

    /// Places a range for good; `Err` tells the device of the one that it overlaps.
    pub(crate) fn fix(
        &self,
        device: usize,
        region: usize,
        first: u64,
        last: u64,
    ) -> Result<(), usize> {
        let mut r = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let overlaps = |o: &&Range| o.first <= last && first <= o.last;
        if let Some(o) = r.fixed.iter().find(overlaps) {
            return Err(o.device);
        }
        r.fixed.push(Range {
            first,
            last,
            origin: first,
            device,
            region,
        });
        r.refresh();
        Ok(())
    }

    /// A window that is nowhere yet.
    pub(crate) fn window(&self, device: usize, region: usize) -> Window {
        let mut r = self.0.write().unwrap_or_else(PoisonError::into_inner);
        r.windows.push((device, region, None));
        Window {
            space: self.clone(),
            index: r.windows.len() - 1,
        }
    }
}

impl Ranges {
    fn refresh(&mut self) {
        let mut seen = self.fixed.clone();
        seen.sort_by_key(|r| r.first);
        for (device, region, at) in &self.windows {
            let Some(at) = at.clone().filter(|a| !a.is_empty()) else {
                continue;
            };
            let mut first = *at.start();
            let mut parts = Vec::new();
            let part = |first, last| Range {
                first,
                last,
                origin: *at.start(),
                device: *device,
                region: *region,
            };
            let mut open = true;
            for o in seen.iter().filter(|o| o.last >= *at.start()) {
                if o.first > *at.end() {
                    break;
                }
                if o.first > first {
                    parts.push(part(first, o.first - 1));
                }
                match o.last.checked_add(1) {
                    Some(next) if next <= *at.end() => first = next,
                    _ => {
                        open = false;
                        break;
                    }
                }
            }
            if open {
                parts.push(part(first, *at.end()));
            }
            seen.extend(parts);
            seen.sort_by_key(|r| r.first);
        }
        self.seen = seen;
    }
}

/// A region's place that may change while the machine runs (a PCI base address register). Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Window {
    space: Space,
    index: usize,
}

impl Window {
    /// From now on the region answers at `at`, or nowhere. An access that is under way ends where it began.
    pub fn place(&self, at: Option<RangeInclusive<u64>>) {
        let mut r = self.space.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(w) = r.windows.get_mut(self.index) else {
            return;
        };
        if w.2 != at {
            w.2 = at;
            r.refresh();
        }
    }

    /// Where the region answers.
    pub fn placed(&self) -> Option<RangeInclusive<u64>> {
        let r = self.space.0.read().unwrap_or_else(PoisonError::into_inner);
        r.windows.get(self.index).and_then(|w| w.2.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(s: &Space, at: u64) -> Option<(usize, u64)> {
        s.find(at).map(|r| (r.device, at - r.origin))
    }

    #[test]
    fn fixed_ranges_hide_windows_and_older_windows_newer_ones() {
        let s = Space::default();
        s.fix(0, 0, 0x100, 0x1ff).unwrap();
        assert_eq!(s.fix(1, 0, 0x1ff, 0x200), Err(0));
        let (a, b) = (s.window(1, 0), s.window(2, 0));
        b.place(Some(0..=0x3ff));
        assert_eq!(seen(&s, 0x80), Some((2, 0x80)));
        assert_eq!(seen(&s, 0x100), Some((0, 0)));
        assert_eq!(seen(&s, 0x200), Some((2, 0x200)));
        a.place(Some(0x180..=0x27f));
        assert_eq!(seen(&s, 0x1ff), Some((0, 0xff)));
        assert_eq!(seen(&s, 0x200), Some((1, 0x80)));
        assert_eq!(seen(&s, 0x280), Some((2, 0x280)));
        assert_eq!(seen(&s, 0x400), None);
        a.place(None);
        assert_eq!(seen(&s, 0x200), Some((2, 0x200)));
        b.place(Some(u64::MAX - 1..=u64::MAX));
        a.place(Some(0..=u64::MAX));
        assert_eq!(seen(&s, u64::MAX).map(|s| s.0), Some(1));
        assert_eq!(a.placed(), Some(0..=u64::MAX));
        assert!(
            s.0.read()
                .unwrap()
                .seen
                .windows(2)
                .all(|w| w[0].last < w[1].first)
        );
    }
}

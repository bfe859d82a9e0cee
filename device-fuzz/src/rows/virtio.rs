//! Virtio devices on PCI, driven as modern and as legacy drivers do: [`driver`] serves all of them.

use super::disks::disk;
use crate::input::{Input, PLAY};
use crate::target::{Target, World};
use block::Access;
use bus::AccessSize::{Byte, Dword, Qword, Word};
use devices::virtio::{Blk, Net, P9, Rng, VirtioPci};
use net::{Backend, Gso, Nic};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

/// Where queue `q` is; descriptors, available and used ring are a page apart.
fn queue(q: u64) -> u64 {
    PLAY + 0x8000 * (q % 8)
}
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
/// Buffers for what the device reads first.
const HEADERS: u64 = PLAY + 0x8_0000;

/// What a driver does: it starts the device with its queues of `sizes`, offers chains of descriptors to them, and tells. `header` makes
/// what stands at the beginning of a request to a queue.
pub fn driver(t: &mut Target, sizes: &'static [u16], header: fn(u64, &mut Input) -> Vec<u8>) {
    let base = Target::bar(4);
    let ports = Target::port_bar(0);
    let count = sizes.len() as u64;
    t.action(move |w, i| {
        let store = |at, size, value| w.store(base + at, size, value);
        store(0x14, Byte, 0);
        if i.rarely(4) {
            // A driver that does not wait for what is under way.
        } else {
            w.load(base + 0x14, Byte);
        }
        store(0x14, Byte, 3);
        let wanted = i.choose(&[0, 1 << 28, 1 << 29, 3 << 28]) | i.qword() & 0xffff_ffff;
        for half in [0, 1] {
            store(0, Dword, half);
            let offered = w.load(base + 4, Dword);
            store(8, Dword, half);
            let accepted = offered & (wanted >> (32 * half) | half);
            store(12, Dword, accepted);
        }
        store(0x14, Byte, 11);
        for q in 0..count {
            store(0x16, Word, q);
            store(0x18, Word, 1 << i.below(9));
            store(0x20, Qword, queue(q));
            store(0x28, Qword, queue(q) + AVAILABLE);
            store(0x30, Qword, queue(q) + USED);
            store(0x1a, Word, u64::from(i.byte() & 3));
            store(0x1c, Word, 1);
            w.set_ram(queue(q) + AVAILABLE, &[0; 4]);
        }
        store(0x14, Byte, 15);
    });
    t.action(move |w, i| {
        w.out(ports + 18, Byte, 0);
        w.out(ports + 18, Byte, 3);
        let offered = w.get(ports, Dword);
        w.out(ports + 4, Dword, offered & i.dword());
        for q in 0..count {
            w.out(ports + 14, Word, q as u32);
            w.out(ports + 8, Dword, (queue(q) >> 12) as u32);
        }
        w.out(ports + 18, Byte, 7);
    });
    t.action(move |w, i| {
        let q = i.below(count);
        let first = header(q, i);
        offer(w, i, q, &first);
        match i.byte() % 8 {
            0 => w.out(ports + 16, Word, q as u32),
            1 => {}
            _ => w.store(base + 0x3000 + 4 * q, Word, q),
        }
    });
}

/// Puts a chain into queue `q`, with `first` in its first buffer.
fn offer(w: &World, i: &mut Input, q: u64, first: &[u8]) {
    let count = 1 + u64::from(i.byte() % 6);
    let head = u64::from(i.byte() & 7);
    let at_first = HEADERS + 16 * u64::from(i.byte());
    w.set_ram(at_first, first);
    let indirect = i.rarely(6);
    let table = if indirect { PLAY + 0x7_0000 } else { queue(q) };
    let start = if indirect { 0 } else { head };
    // What the device writes comes behind what it reads.
    let readable = match i.flip() {
        true => 1,
        false => 1 + i.below(count),
    };
    for n in 0..count {
        let (at, bytes) = match n {
            0 if !first.is_empty() => (at_first, first.len() as u32),
            // A status byte.
            _ if n + 1 == count && i.flip() => (i.address(), 1),
            _ => (i.address(), i.length()),
        };
        let readable = n < readable && (i.rarely(8) || !first.is_empty());
        let more = n + 1 < count && !i.rarely(32);
        let flags = u16::from(more) | u16::from(!readable) << 1 | u16::from(i.rarely(64)) << 2;
        let next = match i.rarely(32) {
            true => u16::from(i.byte()),
            false => (start + n + 1) as u16,
        };
        descriptor(w, table + 16 * (start + n), at, bytes, flags, next);
    }
    if indirect {
        let bytes = 16 * count as u32;
        descriptor(w, queue(q) + 16 * head, table, bytes, 4, 0);
    }
    let ring = queue(q) + AVAILABLE;
    let index = w.ram_word(ring + 2);
    // The ring's size is whatever the driver set: the entry stands in every place that it can be.
    for size in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let slot = u64::from(index % size);
        w.set_ram(ring + 4 + 2 * slot, &(head as u16).to_le_bytes());
    }
    let next = index.wrapping_add(if i.rarely(32) { 9 } else { 1 });
    w.set_ram(ring + 2, &next.to_le_bytes());
}

fn descriptor(w: &World, place: u64, at: u64, bytes: u32, flags: u16, next: u16) {
    let mut d = at.to_le_bytes().to_vec();
    d.extend(bytes.to_le_bytes());
    d.extend(flags.to_le_bytes());
    d.extend(next.to_le_bytes());
    w.set_ram(place, &d);
}

pub fn blk() -> Target {
    let mut t = Target::default();
    let disk = disk(&mut t, 1024, Access::ReadWrite);
    t.plug(VirtioPci::<Blk>::config(), |wires| {
        VirtioPci::new("blk", wires, |core| Blk::new(core, disk))
    });
    driver(&mut t, &[256], |_, i| {
        let mut header = i
            .choose(&[0u32, 1, 0, 1, 4, 8, 11, 13, 99])
            .to_le_bytes()
            .to_vec();
        header.extend([0; 4]);
        let sector = match i.rarely(16) {
            true => i.value(),
            false => u64::from(i.word()) % 1100,
        };
        header.extend(sector.to_le_bytes());
        // Ranges of DISCARD and WRITE_ZEROES.
        for _ in 0..i.byte() % 3 {
            header.extend((u64::from(i.word()) % 1100).to_le_bytes());
            header.extend(i.length().to_le_bytes());
            header.extend(u32::from(i.byte() & 1).to_le_bytes());
        }
        header
    });
    t
}

pub fn rng() -> Target {
    let mut t = Target::default();
    t.plug(VirtioPci::<Rng>::config(), |wires| {
        VirtioPci::new("rng", wires, Rng::new)
    });
    driver(&mut t, &[64], |_, _| Vec::new());
    t
}

/// A network that gives back what it gets, when it is asked to.
#[derive(Default)]
pub struct Mirror {
    nic: Mutex<Option<Arc<dyn Nic>>>,
}

impl Backend for Mirror {
    fn attach(&self, nic: Arc<dyn Nic>) {
        *self.nic.lock().unwrap_or_else(PoisonError::into_inner) = Some(nic);
    }
    fn kick(&self) {}
}

impl Mirror {
    fn nic(&self) -> Option<Arc<dyn Nic>> {
        let nic = self.nic.lock().unwrap_or_else(PoisonError::into_inner);
        nic.clone()
    }
}

/// What a network does to a card: takes frames, gives frames, and sleeps.
pub fn network(t: &mut Target) -> Arc<Mirror> {
    let mirror = Arc::new(Mirror::default());
    let network = mirror.clone();
    t.action(move |_, i| {
        let Some(nic) = network.nic() else { return };
        match i.byte() % 4 {
            0 => {
                let mut frame = Vec::new();
                for _ in 0..64 {
                    if !nic.take(&mut frame) {
                        break;
                    }
                    nic.give(&frame, None);
                }
            }
            1 | 2 => {
                let n = usize::from(i.word()) % 66_000;
                let mut frame = i.take(64).to_vec();
                frame.resize(n.max(14), 0x5a);
                let gso = NonZeroU16::new(i.word())
                    .filter(|_| nic.takes_gso())
                    .map(|size| Gso {
                        size,
                        transport: 34,
                        data: 54,
                    });
                nic.give(&frame, gso);
            }
            _ => {
                nic.disarm();
                nic.arm(i.flip());
            }
        }
    });
    mirror
}

pub fn net() -> Target {
    let mut t = Target::default();
    let network = network(&mut t);
    t.plug(VirtioPci::<Net>::config(), |wires| {
        VirtioPci::new("net", wires, |core| {
            Net::new(core, network, [0x52, 0x54, 0, 0, 0, 1])
        })
    });
    driver(&mut t, &[256, 256], |queue, i| match queue {
        0 => Vec::new(),
        _ => {
            let mut header = vec![i.byte() & 3, i.choose(&[0, 1, 4, 0x81, 0xff])];
            for _ in 0..5 {
                header.extend(i.word().to_le_bytes());
            }
            header.extend(i.take(80));
            header
        }
    });
    t
}

/// A share of a folder with a file, a folder and a link in it, which ends with the target.
pub fn p9() -> Target {
    let mut t = Target::default();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path();
    let made = std::fs::write(path.join("a"), [0x5a; 3000])
        .and_then(|()| std::fs::create_dir(path.join("b")))
        .and_then(|()| std::os::unix::fs::symlink("..", path.join("c")));
    made.expect("the folder can be filled");
    let share = share::Share::new(path, share::Access::ReadWrite).expect("the folder is there");
    let share = Arc::new(share);
    let waited = share.clone();
    t.settle_by(move || {
        waited.drain();
        // It stays until the target goes.
        let _ = &folder;
    });
    t.plug(VirtioPci::<P9>::config(), |wires| {
        VirtioPci::new("9p", wires, |core| P9::new(core, share, "fuzz"))
    });
    driver(&mut t, &[128], |_, i| message(i));
    t
}

/// A message of 9P2000.L: mostly one that there is, with fids that may be in use and names that may be there.
fn message(i: &mut Input) -> Vec<u8> {
    let name = |i: &mut Input| {
        let name: &[u8] = i.choose(&[&b"a"[..], b"b", b"c", b"d", b"..", b"", b"/", b"a/b"]);
        let mut s = (name.len() as u16).to_le_bytes().to_vec();
        s.extend(name);
        s
    };
    let kind = match i.rarely(16) {
        true => i.byte(),
        false => i.choose(&[
            100, 104, 110, 110, 12, 14, 116, 118, 120, 24, 26, 40, 8, 22, 30, 50, 52, 54, 70, 72,
            74, 76,
        ]),
    };
    let fid = |i: &mut Input| u32::from(i.byte() & 3).to_le_bytes();
    let mut body = fid(i).to_vec();
    match kind {
        100 => body = [&0x1_0000u32.to_le_bytes()[..], &[8, 0], b"9P2000.L"].concat(),
        104 => body.extend([0xff; 4]),
        110 => {
            body.extend(fid(i));
            let count = u16::from(i.byte() % 3);
            body.extend(count.to_le_bytes());
            (0..count).for_each(|_| body.extend(name(i)));
        }
        14 | 72 | 76 => body.extend(name(i)),
        70 => {
            body.extend(fid(i));
            body.extend(name(i));
        }
        74 => {
            body.extend(name(i));
            body.extend(fid(i));
            body.extend(name(i));
        }
        _ => {}
    }
    match kind {
        // Offset and count.
        40 | 116 | 118 => {
            body.extend((i.value() & 0xffff).to_le_bytes());
            body.extend(i.length().to_le_bytes());
        }
        _ => body.extend(u32::from(i.byte()).to_le_bytes()),
    }
    body.extend(i.take(40));
    let size = match i.rarely(16) {
        true => i.dword(),
        false => 7 + body.len() as u32,
    };
    let mut message = size.to_le_bytes().to_vec();
    message.extend([kind, i.byte(), 0]);
    message.extend(body);
    message
}

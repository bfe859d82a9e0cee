//! Drives: their controllers with a disk or a disc, and how drivers use them.

use crate::input::{Input, PLAY};
use crate::target::{Target, World};
use block::{Access, Disk, MemoryImage};
use bus::AccessSize::{Byte, Dword, Word};
use devices::ide::{Drive, Place, region_command, region_control};
use devices::{Ahci, Floppy, I8237, Ide, IsaDma};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A disk with something on it, for which `target` waits; at times it breaks.
pub fn disk(target: &mut Target, sectors: usize, access: Access) -> Arc<Disk> {
    let bytes = (0..sectors * 512).map(|n| (n >> 9) as u8).collect();
    let image = MemoryImage::new(bytes, access).expect("a file can be made");
    let disk = Disk::new(Box::new(image.clone()), "SERIAL").expect("threads can be started");
    let disk = Arc::new(disk);
    let waited = disk.clone();
    target.settle_by(move || waited.drain());
    target.action(move |_, i| image.broken.store(i.rarely(4), Ordering::SeqCst));
    disk
}

pub fn floppy() -> Target {
    let mut t = Target::default();
    let dma = I8237::new();
    t.ports(dma.clone(), &[0x00..=0x0f, 0xc0..=0xdf, 0x80..=0x8f]);
    let a = disk(&mut t, 2880, Access::ReadWrite);
    let b = disk(&mut t, 720, Access::ReadOnly);
    let channel = IsaDma::new(&dma, t.world.ram.clone(), 2);
    let line = t.world.irqs.isa(6);
    let chip = Floppy::new(line, channel, [Some(Some(a.clone())), Some(None)]);
    t.ports(chip.clone(), &[0x3f0..=0x3f5, 0x3f7..=0x3f7]);
    t.action(move |_, i| {
        let disk = i.choose(&[0, 1, 2]);
        let disk = [None, Some(a.clone()), Some(b.clone())][disk].clone();
        chip.change_disk(i.below(3) as usize, disk);
    });
    t.action(|w, i| {
        w.out(
            0x3f2,
            Byte,
            i.choose(&[0x1c, 0x1c, 0x1c, 0x2d, 0x14, 0x0c, 0]),
        );
        let drive = i.choose(&[0u8, 4, 0, 1, 7]);
        for byte in floppy_command(i, drive) {
            w.out(0x3f5, Byte, byte.into());
        }
        for _ in 0..i.byte() % 12 {
            w.get(0x3f5, Byte);
        }
    });
    // Channel 2 gets a place and a length.
    t.action(|w, i| {
        for (port, value) in [(10, 6), (12, 0)] {
            w.out(port, Byte, value);
        }
        let place = [0, i.byte() & 0xfe, i.choose(&[0xff, 0xff, 0]), i.byte()];
        for (port, value) in [4, 4, 5, 5].into_iter().zip(place) {
            w.out(port, Byte, value.into());
        }
        w.out(
            0x81,
            Byte,
            u32::from(i.choose(&[0x10, 0x10, 0, 0xf0]) | i.byte() & 15),
        );
        w.out(11, Byte, i.choose(&[0x46, 0x4a, 0x42, 0x56, 0x5a]));
        w.out(10, Byte, 2);
    });
    t
}

/// A command of the 82077AA with as many bytes as it wants, or a few less or more.
fn floppy_command(i: &mut Input, drive: u8) -> Vec<u8> {
    let known = [
        6, 6, 5, 7, 8, 0x0f, 0x0a, 0x0d, 2, 3, 4, 0x0e, 0x13, 0x10, 0x16,
    ];
    let code = match i.rarely(8) {
        true => i.byte(),
        false => i.choose(&known) | i.choose(&[0xc0, 0x40, 0x40, 0, 0x20]),
    };
    let mut bytes = vec![code];
    match code & 0x1f {
        // READ DATA, WRITE DATA, READ TRACK, VERIFY: cylinder, head, sector, size, last sector, gap, length.
        2 | 5 | 6 | 9 | 0x16 => {
            // A drive that did not move stands at cylinder 0.
            let far = i.byte() % 81;
            let (cylinder, sector) = (i.choose(&[0, 0, far]), 1 + i.byte() % 19);
            bytes.extend([drive, cylinder, drive >> 2 & 1, sector, 2, 18, 0x1b, 0xff]);
        }
        0x0d => bytes.extend([drive, 2, i.byte() % 20, 0x50, i.byte()]),
        0x0f => bytes.extend([drive, i.byte() % 84]),
        3 => bytes.extend([i.byte(), i.byte()]),
        4 | 7 | 0x0a => bytes.push(drive),
        0x13 => bytes.extend([0, i.byte(), 0]),
        _ => {}
    }
    if i.rarely(8) {
        let at = usize::from(i.byte()) % bytes.len();
        bytes[at] = i.byte();
    }
    if i.rarely(8) {
        bytes.truncate(usize::from(i.byte()) % 10);
    }
    bytes
}

pub fn ide() -> Target {
    let mut t = Target::default();
    let hard = disk(&mut t, 1024, Access::ReadWrite);
    let small = disk(&mut t, 100, Access::ReadOnly);
    let disc = disk(&mut t, 1200, Access::ReadOnly);
    let drives = [
        (Place::new(0, 0), Drive::Disk(hard)),
        (Place::new(0, 1), Drive::Disk(small)),
        (Place::new(1, 0), Drive::CdRom(Some(disc.clone()))),
    ];
    let lines = [t.world.irqs.isa(14), t.world.irqs.isa(15)];
    let mut handle = None;
    let index = t.plug(Ide::config(), |wires| {
        let ide = Ide::new(&wires, lines, &drives);
        handle = Some(ide.clone());
        ide
    });
    for (n, (command, control)) in [(0x1f0, 0x3f6), (0x170, 0x376)].into_iter().enumerate() {
        let bus = &mut t.world.bus;
        let placed = bus
            .map_ports(index, region_command(n), command..=command + 7)
            .and_then(|()| bus.map_ports(index, region_control(n), control..=control));
        placed.expect("the ranges do not overlap");
    }
    if let Some(ide) = handle {
        t.action(move |_, i| {
            let disc = i.flip().then(|| disc.clone());
            ide.change_disc(Place::new(1, 0), disc);
        });
    }
    let master = Target::port_bar(4);
    // A table of regions, a command that uses it, and the engine that walks it: mostly the way that the command wants.
    t.action(move |w, i| {
        let (table, second) = (PLAY + u64::from(i.word()) * 4, u16::from(i.rarely(4)));
        let (base, engine) = (0x1f0 - 0x80 * second, master + 8 * second);
        regions(w, i, table);
        w.out(engine, Byte, 0);
        w.out(engine + 4, Dword, table as u32);
        let (code, way) = i.choose(&[
            (0xc8, 9),
            (0x25, 9),
            (0xca, 1),
            (0x35, 1),
            (0x06, 1),
            (0xa0, 9),
        ]);
        task(w, i, base, code);
        if code == 0xa0 {
            send_packet(w, i, base);
        }
        w.out(engine, Byte, way ^ i.choose(&[0, 0, 0, 8]));
    });
    t.action(|w, i| {
        let (base, code) = (i.choose(&[0x1f0, 0x170]), command(i));
        task(w, i, base, code);
        match i.byte() % 4 {
            // Data, or the packet and what it asks for.
            0 => send_packet(w, i, base),
            1 => {
                for _ in 0..u16::from(i.byte()) * 2 {
                    w.get(base, i.size().min(Dword));
                }
            }
            2 => {
                for _ in 0..u16::from(i.byte()) * 2 {
                    w.out(base, i.size().min(Dword), 0x1234_5678);
                }
            }
            _ => _ = w.get(base + 7, Byte),
        }
    });
    t
}

/// Task file and command of the channel at `base`; the address is one of the disk's as a rule.
fn task(w: &World, i: &mut Input, base: u16, code: u8) {
    let head = i.byte() & i.choose(&[0, 0, 15]);
    w.out(
        base + 6,
        Byte,
        i.choose(&[0xe0, 0xe0, 0xf0, 0xa0, 0xb0]) | u32::from(head),
    );
    for (register, mask) in [(1, 0xff), (2, 0x0f), (3, 0xff), (4, 3), (5, 0)] {
        let mask = i.choose(&[mask, mask, mask, 0xff]);
        w.out(base + register, Byte, u32::from(i.byte() & mask));
    }
    w.out(base + 7, Byte, code.into());
}

/// A command of ATA, as a rule one that exists.
fn command(i: &mut Input) -> u8 {
    let known = [
        0x20, 0x21, 0x24, 0x29, 0x30, 0x34, 0x39, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0x25, 0x35, 0xa0,
        0xa0, 0xa0, 0xa1, 0xec, 0xef, 0xe7, 0xea, 0x06, 0x60, 0x61, 0x08, 0x90, 0x91, 0xf8, 0x27,
        0x40, 0x42,
    ];
    match i.rarely(8) {
        true => i.byte(),
        false => i.choose(&known),
    }
}

/// A packet command of twelve bytes.
fn packet(i: &mut Input) -> Vec<u8> {
    let known = [
        0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0xa8, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0xbe, 0xad,
        0xbd,
    ];
    let mut cdb = vec![i.choose(&known)];
    cdb.extend(i.take(11));
    cdb.resize(12, 0);
    cdb
}

/// A packet command by the data register of the channel at `base`.
fn send_packet(w: &World, i: &mut Input, base: u16) {
    packet(i).chunks(2).for_each(|two| {
        let word = u32::from(two[0]) | u32::from(two[1]) << 8;
        w.out(base, Word, word);
    });
}

/// A table of physical regions of the IDE bus master at `at`.
fn regions(w: &World, i: &mut Input, at: u64) {
    let count = 1 + u64::from(i.byte() % 6);
    for n in 0..count {
        let last = u64::from(n + 1 == count && !i.rarely(16)) << 63;
        let bytes = u64::from(i.length() & 0xffff) << 32;
        let entry = i.address() & 0xffff_ffff | bytes | last;
        w.set_ram(at + 8 * n, &entry.to_le_bytes());
    }
}

pub fn ahci() -> Target {
    let mut t = Target::default();
    let hard = disk(&mut t, 1024, Access::ReadWrite);
    let disc = disk(&mut t, 1200, Access::ReadOnly);
    let drives = [
        Some(Drive::Disk(hard)),
        Some(Drive::CdRom(Some(disc.clone()))),
        None,
        None,
        None,
        None,
    ];
    let mut handle = None;
    t.plug(Ahci::config(), |wires| {
        let ahci = Ahci::new(wires, drives);
        handle = Some(ahci.clone());
        ahci
    });
    if let Some(ahci) = handle {
        t.action(move |_, i| ahci.change_disc(1, i.flip().then(|| disc.clone())));
    }
    let base = Target::bar(5);
    let port = move |n: u64, register: u64| base + 0x100 + 0x80 * n + register;
    let list = |n: u64| PLAY + 0x8000 * n;
    t.action(move |w, i| {
        w.store(base + 4, Dword, 0x8000_0002);
        for n in 0..2 {
            w.store(port(n, 0x18), Dword, 0x16);
            w.store(port(n, 0), Dword, list(n));
            w.store(port(n, 8), Dword, list(n) + 0x400);
            w.store(port(n, 0x30), Dword, u64::from(u32::MAX));
            w.store(port(n, 0x10), Dword, u64::from(u32::MAX));
            w.store(port(n, 0x14), Dword, i.value());
            w.store(port(n, 0x18), Dword, 0x17);
        }
    });
    t.action(move |w, i| {
        let (n, slot) = (u64::from(i.byte() & 1), u64::from(i.byte() & 31));
        let table = list(n) + 0x1000 + 0x400 * (slot & 7);
        let code = command(i);
        let count = u32::from(i.byte() % 8);
        let flags = u32::from(code == 0xa0) << 5 | u32::from(i.byte() & 1) << 6;
        let mut header = (count << 16 | 5 | flags).to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(table.to_le_bytes());
        if i.rarely(8) {
            header[usize::from(i.byte() & 15)] = i.byte();
        }
        w.set_ram(list(n) + 32 * slot, &header);
        let mut frame = vec![0x27, 0x80, code, i.byte()];
        frame.extend([i.byte(), i.byte() & 7, 0, 0x40, 0, 0, 0, i.byte()]);
        frame.extend([i.byte(), i.byte() & 1]);
        if i.rarely(8) {
            frame[usize::from(i.byte() % 14)] = i.byte();
        }
        frame.resize(0x40, 0);
        frame.extend(packet(i));
        frame.resize(0x80, 0);
        for _ in 0..count {
            frame.extend(i.address().to_le_bytes());
            frame.extend([0; 4]);
            frame.extend(i.length().wrapping_sub(1).to_le_bytes());
        }
        w.set_ram(table, &frame);
        if !i.rarely(4) {
            w.store(port(n, 0x34), Dword, u64::from(i.byte() & 1) << slot);
            w.store(port(n, 0x38), Dword, 1 << slot);
        }
    });
    t
}

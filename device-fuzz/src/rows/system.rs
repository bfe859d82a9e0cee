//! What every PC has: timers, interrupt controllers, keyboard, firmware's chips.

use crate::input::Input;
use crate::target::{Target, World};
use bus::AccessSize::{Byte, Dword, Qword};
use bus::IrqLine;
use devices::fw_cfg::{Items, key};
use devices::hpet::HpetWires;
use devices::i8042::Key;
use devices::mc146818::MemorySize;
use devices::reset::{A20Gate, SystemControlA};
use devices::{
    AcpiPm, DebugConsole, DebugExit, Flash, FwCfg, Hpet, I8042, I8237, I8254, IsaDma, Mc146818,
    NumericError, RomAlias, TestDevice, Uart16550, acpi_pm,
};

pub fn uart16550() -> Target {
    let mut t = Target::default();
    let (clock, alarm, irq) = (t.world.clock.clone(), t.alarm(), t.world.irqs.isa(4));
    let uart = Uart16550::new("uart0", clock, alarm, irq, Box::new(|_| ()));
    let cable = uart.input();
    t.ports(uart, &[0x3f8..=0x3ff]);
    t.action(move |_, i| {
        let n = usize::from(i.byte());
        cable.push(i.take(n));
    });
    t
}

pub fn i8254() -> Target {
    let mut t = Target::default();
    let pit = I8254::new(t.world.clock.clone(), t.alarm(), t.world.irqs.isa(0));
    t.ports(pit, &[0x40..=0x43, 0x61..=0x61]);
    t.action(|w, i| {
        w.out(0x43, Byte, i.byte().into());
        w.advance(i.word().into());
    });
    t
}

/// The processor takes an interrupt, if there is one.
fn acknowledge(w: &World, _: &mut Input) {
    let local = w.apics.local(0);
    if local.has_interrupt() {
        w.answered(local.acknowledge().map_or(0, |v| 0x100 | u64::from(v)));
    }
}

/// A wire of `lines` goes up, down, or both.
fn wires(lines: Vec<IrqLine>) -> impl FnMut(&World, &mut Input) {
    move |_, i| {
        let line = &lines[i.below(lines.len() as u64) as usize];
        match i.byte() % 3 {
            0 => line.set(false),
            1 => line.set(true),
            _ => line.pulse(),
        }
    }
}

/// A store of one of the local APIC's registers, after which it may or may not take interrupts.
fn local_register(w: &World, i: &mut Input) {
    let local = w.apics.local(0);
    match i.byte() % 6 {
        0 => local.mmio_write(0xf0, 0x100 | u32::from(i.byte())),
        1 => local.mmio_write(0xb0, 0),
        2 => local.mmio_write(u64::from(i.byte()) << 4, i.value() as u32),
        3 => w.answered(local.mmio_read(u64::from(i.byte()) << 4).into()),
        4 => local.mmio_write(0x350, i.choose(&[0x700, 0x1_0700, 0x8700, 0x400])),
        _ => local.mmio_write(u64::from(i.word()), i.value() as u32),
    }
}

pub fn i8259() -> Target {
    let mut t = Target::default();
    let pic = t.world.pic.clone();
    let lines = (0..16).map(|n| pic.line(n)).collect();
    t.ports(pic.clone(), &[0x20..=0x21, 0xa0..=0xa1, 0x4d0..=0x4d1]);
    t.action(wires(lines));
    t.action(acknowledge);
    t.action(move |w, _| w.answered(pic.acknowledge().into()));
    // The four initialisation words, in order.
    t.action(|w, i| {
        let base = i.choose(&[0x20, 0xa0]);
        w.out(base, Byte, 0x10 | u32::from(i.byte() & 0x1f));
        for _ in 0..3 {
            w.out(base + 1, Byte, i.byte().into());
        }
    });
    t
}

pub fn ioapic() -> Target {
    let mut t = Target::default();
    let ioapic = t.world.ioapic.clone();
    let lines = (0..devices::IoApic::PINS).map(|n| ioapic.line(n)).collect();
    t.memory(ioapic, 0xfec0_0000..=0xfec0_0fff);
    let alarm = t.alarm();
    let local = t.world.apics.device(0, alarm);
    t.ports(local, &[]);
    t.action(wires(lines));
    t.action(acknowledge);
    t.action(local_register);
    t.action(|w, _| w.apics.local(0).mmio_write(0xb0, 0));
    // A redirection entry.
    t.action(|w, i| {
        w.store(0xfec0_0000, Dword, 0x10 + u64::from(i.byte() % 48));
        w.store(0xfec0_0010, Dword, i.value());
    });
    t
}

pub fn local_apic() -> Target {
    let mut t = Target::default();
    let alarm = t.alarm();
    let apics = t.world.apics.clone();
    t.ports(apics.device(0, alarm), &[]);
    let lint = [0, 1].map(|pin| apics.lint(0, pin)).to_vec();
    t.action(wires(lint));
    t.action(acknowledge);
    t.action(local_register);
    t.action(|w, i| {
        _ = w
            .apics
            .send_msi(0xfee0_0000 | i.value() & 0xf_ffff, i.value() as u32)
    });
    t.action(|w, i| {
        let local = w.apics.local(0);
        let x2apic = 0x800 + u32::from(i.byte());
        let msr = i.choose(&[0x1b, 0x6e0, x2apic]);
        match i.byte() % 8 {
            0 => w.answered(local.read_msr(msr).unwrap_or(0)),
            1..4 => w.answered(local.write_msr(msr, i.value()).into()),
            4 => w.answered(local.take_sipi().map_or(0, u64::from)),
            5 => local.set_cr8(i.byte()),
            6 => local.set_tsc_adjust(i.value()),
            _ => local.init(),
        }
    });
    // The timer.
    t.action(|w, i| {
        let local = w.apics.local(0);
        local.mmio_write(0x3e0, i.byte().into());
        local.mmio_write(0x320, u32::from(i.byte()) | u32::from(i.byte() & 7) << 16);
        local.mmio_write(0x380, i.value() as u32);
        w.advance(i.word().into());
    });
    t
}

pub fn mc146818() -> Target {
    let mut t = Target::default();
    let memory = MemorySize {
        below_4g: 1 << 30,
        above_4g: 1 << 30,
    };
    let (clock, alarm, irq) = (t.world.clock.clone(), t.alarm(), t.world.irqs.isa(8));
    let rtc = Mc146818::new(clock, alarm, irq, 1_700_000_000, memory);
    t.ports(rtc.with_floppies([4, 0]), &[0x70..=0x73]);
    t.action(|w, i| {
        w.out(0x70, Byte, u32::from(i.byte() & 0x8f));
        match i.byte() % 3 {
            0 => _ = w.get(0x71, Byte),
            _ => w.out(0x71, Byte, i.byte().into()),
        }
    });
    // Days at once: calendars have edges.
    t.action(|w, i| w.advance(u64::from(i.word()) * 86_400_000_000_000));
    t
}

pub fn i8042() -> Target {
    let mut t = Target::default();
    let (irqs, stop) = (t.world.irqs.clone(), t.world.stop.clone());
    let chip = I8042::new(irqs.isa(1), irqs.isa(12), A20Gate::new(), stop);
    t.ports(chip.clone(), &[0x60..=0x60, 0x64..=0x64]);
    t.action(move |_, i| match i.byte() % 4 {
        0 => chip.press(Key(i.word())),
        1 => chip.release(Key(i.word())),
        2 => chip.type_text(&String::from_utf8_lossy(i.take(20))),
        _ => chip.move_mouse(i.dword() as i32, i.word().into(), i.byte().into(), i.byte()),
    });
    t.action(|w, i| {
        w.out(0x64, Byte, i.byte().into());
        w.out(0x60, Byte, i.byte().into());
        w.get(0x60, Byte);
    });
    t
}

pub fn hpet() -> Target {
    let mut t = Target::default();
    let wires = HpetWires::new(&t.world.irqs);
    let hpet = Hpet::new(t.world.clock.clone(), t.alarm(), wires);
    t.memory(hpet, 0xfed0_0000..=0xfed0_03ff);
    t.action(|w, i| {
        let timer = 0x100 + 0x20 * u64::from(i.byte() % 4);
        w.store(0xfed0_0010, Dword, i.byte().into());
        w.store(0xfed0_0000 + timer, Dword, i.value());
        w.store(0xfed0_0008 + timer, Qword, i.value());
        w.advance(i.word().into());
    });
    t
}

pub fn acpi_pm() -> Target {
    let mut t = Target::default();
    let pm = AcpiPm::new(
        t.world.clock.clone(),
        t.alarm(),
        t.world.irqs.isa(9),
        t.world.stop.clone(),
        acpi_pm::TimerWidth::Bits24,
    );
    let ranges = [0x600..=0x60f, 0x620..=0x623, 0xb2..=0xb3, 0x630..=0x630];
    t.ports(pm.clone(), &ranges);
    t.action(move |_, i| match i.flip() {
        true => pm.press_power_button(),
        false => pm.raise_gpe(i.dword()),
    });
    t
}

pub fn i8237() -> Target {
    let mut t = Target::default();
    let dma = I8237::new();
    t.ports(dma.clone(), &[0x00..=0x0f, 0xc0..=0xdf, 0x80..=0x8f]);
    let channels: Vec<IsaDma> = (0..8)
        .map(|n| IsaDma::new(&dma, t.world.ram.clone(), n))
        .collect();
    // A chip moves data.
    t.action(move |_, i| {
        let channel = &channels[i.below(8) as usize];
        let n = usize::from(i.word() & 0x3ff);
        match i.flip() {
            true => _ = channel.to_memory(&vec![i.byte(); n]),
            false => _ = channel.from_memory(&mut vec![0; n]),
        }
    });
    t
}

pub fn reset() -> Target {
    let mut t = Target::default();
    let stop = t.world.stop.clone();
    t.ports(
        SystemControlA::new(A20Gate::new(), stop.clone()),
        &[0x92..=0x92],
    );
    t.ports(DebugExit::new(stop.clone()), &[0xf4..=0xf7]);
    t.ports(DebugConsole::new(0xe9, Box::new(|_| ())), &[0xe9..=0xe9]);
    let errors = NumericError::new(t.world.irqs.isa(13));
    let ferr = errors.ferr();
    t.ports(errors, &[0xf0..=0xf0]);
    t.action(wires(vec![ferr]));
    t.action(move |_, _| _ = stop.take());
    t
}

pub fn fw_cfg() -> Target {
    let mut t = Target::default();
    let mut items = Items::default();
    items.set(key::KERNEL_DATA, vec![0x5a; 70_000]);
    items.set(key::CPUS, vec![1, 0]);
    items.file("etc/a", vec![1; 3]);
    items.file("etc/b", vec![2; 5000]);
    items.file("etc/empty", vec![]);
    t.ports(FwCfg::new(items, t.world.ram.clone()), &[0x510..=0x51b]);
    // A descriptor for DMA, and the store that starts it.
    t.action(|w, i| {
        let at = i.address();
        let control = u32::from(i.byte() & 0x1f) | i.choose(&[0, 0x11, 0x20, 0x21, 0x22]) << 16;
        let mut d = control.to_be_bytes().to_vec();
        d.extend(i.length().to_be_bytes());
        d.extend(i.address().to_be_bytes());
        w.set_ram(at, &d);
        w.out(0x514, Dword, ((at >> 32) as u32).swap_bytes());
        w.out(0x518, Dword, (at as u32).swap_bytes());
    });
    t
}

pub fn testdev() -> Target {
    let mut t = Target::default();
    let lines = (0..24).map(|n| t.world.irqs.gsi(n)).collect();
    let ranges = [0xe0..=0xe3, 0x2000..=0x2017, 0xe4..=0xe7];
    let index = t.ports(TestDevice::new(lines), &ranges);
    let last = 0xff00_0000 + devices::testdev::MMIO_SIZE - 1;
    let region = devices::testdev::REGION_MMIO;
    let placed = t.world.bus.map_mmio(index, region, 0xff00_0000..=last);
    placed.expect("the ranges do not overlap");
    t
}

pub fn flash() -> Target {
    const SIZE: u64 = 0x2_0000;
    const VARIABLES: u64 = 0x8000;
    const BASE: u64 = (1 << 32) - SIZE;
    let mut t = Target::with_banks(&[SIZE]);
    let ram = t.world.ram.clone();
    ram.place(0, Some(arch::GuestPhys(BASE)));
    let mut writes = 0u32;
    // Now and then the host's disk is full.
    let file: devices::flash::FlashFile = Box::new(move |_, _| {
        writes += 1;
        !writes.is_multiple_of(16)
    });
    let store = Flash::new("flash1", ram.clone(), 0, 0, VARIABLES, Some(file));
    let code = Flash::new("flash0", ram.clone(), 0, VARIABLES, SIZE - VARIABLES, None);
    t.memory(store, BASE..=BASE + VARIABLES - 1);
    t.memory(code, BASE + VARIABLES..=BASE + SIZE - 1);
    t.memory(RomAlias::new(ram, 0, 0), 0xe_0000..=0xf_ffff);
    // A command of the chip with what comes after it.
    t.action(|w, i| {
        let at = BASE + u64::from(i.word());
        let command = i.choose(&[0x20, 0x40, 0xe8, 0x60, 0x90, 0x98, 0x70, 0x50, 0xff, 0xd0]);
        w.store(at, Byte, command);
        for _ in 0..i.byte() % 40 {
            w.store(at, i.size(), i.value());
        }
        w.store(at, Byte, 0xd0);
        w.load(at, i.size());
    });
    t
}

//! The display adapter, and the pictures that are made of what it holds.

use crate::target::Target;
use devices::vga::{self, PciVga, Vga};

pub fn vga() -> Target {
    let mut t = Target::with_banks(&[vga::MEMORY]);
    let adapter = Vga::new(t.world.ram.clone(), 0, t.world.clock.clone());
    let function = PciVga::new(adapter.clone());
    let index = t.plug(PciVga::config(Some(&[0x55, 0xaa, 1, 0])), |_| function);
    let bus = &mut t.world.bus;
    let placed = bus
        .map_ports(index, vga::REGION_PORTS, 0x3b0..=0x3df)
        .and_then(|()| bus.map_ports(index, vga::REGION_DISPI, 0x1ce..=0x1d0))
        .and_then(|()| bus.map_mmio(index, vga::REGION_WINDOW, 0xa_0000..=0xb_ffff));
    placed.expect("the ranges do not overlap");
    // Somebody looks at the screen.
    t.action(move |_, i| {
        let snapshot = adapter.snapshot();
        match i.flip() {
            true => drop(snapshot.frame()),
            false => drop(snapshot.text()),
        }
    });
    // An indexed register.
    t.action(|w, i| {
        use bus::AccessSize::Byte;
        let port = i.choose(&[0x3c4, 0x3ce, 0x3d4, 0x3b4, 0x3c0]);
        w.out(port, Byte, u32::from(i.byte() & 0x1f));
        let data = if port == 0x3c0 { port } else { port + 1 };
        w.out(data, Byte, i.byte().into());
    });
    // Bochs' registers, with values that make modes.
    t.action(|w, i| {
        use bus::AccessSize::Word;
        w.out(0x1ce, Word, i.below(12) as u32);
        let value = match i.byte() % 4 {
            0 => u32::from(i.word()),
            1 => i.choose(&[4, 8, 15, 16, 24, 32]),
            2 => i.choose(&[0, 1, 0x41, 0xe1, 0xb0c5]),
            _ => 8 * u32::from(i.byte()),
        };
        w.out(0x1cf, Word, value);
    });
    t
}

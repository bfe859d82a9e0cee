use super::*;
use crate::testing::{Fuzz, clock};
use crate::{ApicBus, I8259, IoApic, IrqRouter};
use arch::GuestPhys;
use bus::{Attention, Device, ResetSource, StopReason, StopRequest};

const B: AccessSize = AccessSize::Byte;
const W: AccessSize = AccessSize::Word;
const D: AccessSize = AccessSize::Dword;
const Q: AccessSize = AccessSize::Qword;

/// An example of a function: a doorbell register that copies a doubleword from RAM to RAM and interrupts.
struct Copier {
    wires: Wires,
    from: u64,
    to: u64,
    resets: u32,
}

impl Copier {
    fn config() -> Config {
        let id = Identity {
            vendor: 0x1234,
            device: 0x5678,
            revision: 3,
            class: 0xff_0000,
        };
        Config::new(id)
            .subsystem(0x1af4, 0x1100)
            .pin(Pin::A)
            .bar(0, Bar::Io { size: 0x20 })
            .bar(
                1,
                Bar::Memory32 {
                    size: 0x1000,
                    prefetchable: false,
                },
            )
            .bar(
                4,
                Bar::Memory64 {
                    size: 0x4000,
                    prefetchable: true,
                },
            )
            .rom(&[0x55, 0xaa, 1])
            .msi(2)
            .msix(70, 4, 0x1000, 0x2000)
    }
}

impl PciFunction for Copier {
    fn name(&self) -> &str {
        "copier"
    }
    fn port_read(&mut self, _: usize, offset: u16, _: AccessSize) -> u32 {
        // Reading the interrupt status acknowledges.
        if offset == 0 {
            self.wires.interrupts.set_level(false);
        }
        u32::from(offset)
    }
    fn mmio_read(&mut self, region: usize, offset: u64, _: AccessSize) -> u64 {
        (region as u64) << 32 | offset
    }
    fn mmio_write(&mut self, _: usize, offset: u64, _: AccessSize, value: u64) {
        match offset {
            0 => self.from = value,
            8 => self.to = value,
            _ => {
                let done = self.wires.dma.load::<u32>(self.from);
                if done.and_then(|v| self.wires.dma.store(self.to, v)).is_ok() {
                    self.wires.interrupts.raise(value as u16);
                }
            }
        }
    }
    fn reset(&mut self, _: &mut Config) {
        (self.from, self.to) = (0, 0);
        self.resets += 1;
    }
    fn save(&self) -> Result<Section, Error> {
        Section::new(self.name(), 1, &(self.from, self.to))
    }
    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        (self.from, self.to) = section.read(self.name(), 1)?;
        Ok(())
    }
}

#[derive(Default)]
struct Mailbox(Mutex<Vec<(u64, u32)>>);

impl MsiSink for Mailbox {
    fn message(&self, address: u64, data: u32) {
        lock(&self.0).push((address, data));
    }
}

struct Bench {
    bus: Bus,
    pci: PciBus,
    ram: Arc<Ram>,
    mail: Arc<Mailbox>,
    pic: I8259,
    stop: StopRequest,
}

const AT: Address = Address::new(3, 0);

fn bench() -> Bench {
    let attention = [Arc::new(Attention::default())];
    let apics = ApicBus::new(clock(), 40, &attention);
    let pic = I8259::new(apics.lint(0, 0));
    apics.connect_pic(&pic);
    let ioapic = IoApic::new(apics.clone());
    let router = PirqRouter::new(&IrqRouter::new(&pic, &ioapic));
    let (ram, mail) = (Ram::new(1 << 20).unwrap(), Arc::new(Mailbox::default()));
    let pci = PciBus::new(ram.clone(), mail.clone(), router.clone());
    let stop = StopRequest::new(vec![]);
    let mut bus = Bus::new(clock());
    let ports = PciConfig::new(pci.clone(), stop.clone());
    let index = bus.add(Arc::new(Mutex::new(ports)));
    bus.map_ports(index, 0, 0xcf8..=0xcff).unwrap();
    let shadow = ram.clone();
    pci.plug(&mut bus, Address::new(0, 0), I440Fx::config(), |_| {
        I440Fx::new(shadow)
    });
    pci.plug(&mut bus, Address::new(1, 0), Piix3::config(), |_| {
        Piix3::new(router.clone())
    });
    let block = bus.port_window(index, 0);
    pci.plug(&mut bus, Address::new(1, 3), Piix4Pm::config(), |_| {
        Piix4Pm::new(block)
    });
    pci.plug(&mut bus, AT, Copier::config(), |wires| Copier {
        wires,
        from: 0,
        to: 0,
        resets: 0,
    });
    Bench {
        bus,
        pci,
        ram,
        mail,
        pic,
        stop,
    }
}

impl Bench {
    fn select(&self, at: Address, offset: u8) {
        let address = 0x8000_0000 | u32::from(at.0) << 8 | u32::from(offset & 0xfc);
        self.bus.port_write(0xcf8, D, address);
    }
    fn get(&self, at: Address, offset: u8, size: AccessSize) -> u32 {
        self.select(at, offset);
        self.bus.port_read(0xcfc + u16::from(offset & 3), size)
    }
    fn set(&self, at: Address, offset: u8, size: AccessSize, value: u32) {
        self.select(at, offset);
        self.bus
            .port_write(0xcfc + u16::from(offset & 3), size, value);
    }
    fn load(&self, at: u64, size: AccessSize) -> u64 {
        self.bus.mmio_read(GuestPhys(at), size)
    }
    fn store(&self, at: u64, size: AccessSize, value: u64) {
        self.bus.mmio_write(GuestPhys(at), size, value);
    }
    /// Decoding and bus mastering on, memory at 0xd000_0000 and 0x80_0000_0000, ports at 0xc000.
    fn place(&self) {
        self.set(AT, 0x10, D, 0xc000);
        self.set(AT, 0x14, D, 0xd000_0000);
        self.set(AT, 0x20, D, 0);
        self.set(AT, 0x24, D, 0x80);
        self.set(AT, 0x04, W, 7);
    }
    fn capability(&self, id: u8) -> u8 {
        let mut at = self.get(AT, 0x34, B) as u8;
        while at != 0 && self.get(AT, at, B) as u8 != id {
            at = self.get(AT, at + 1, B) as u8;
        }
        assert_ne!(at, 0, "capability {id:#x}");
        at
    }
    fn mail(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut lock(&self.mail.0))
    }
    fn copy(&self, vector: u64) {
        self.store(0xd000_0000, D, 0x100);
        self.store(0xd000_0008, D, 0x200);
        self.store(0xd000_0010, D, vector);
    }
    fn requested(&self, irq: u16) -> bool {
        let port = if irq < 8 { 0x20 } else { 0xa0 };
        let mut pic = self.pic.clone();
        pic.port_write(usize::from(port == 0xa0), 0, B, 0x0a);
        pic.port_read(usize::from(port == 0xa0), 0, B) >> (irq & 7) & 1 != 0
    }
}

#[test]
fn configuration_space_is_memory_as_well() {
    let b = bench();
    let mut ecam = Ecam::new(b.pci.clone());
    let at = u64::from(AT.0) << 12;
    let q = AccessSize::Qword;
    assert_eq!(ecam.mmio_read(0, at, D), 0x5678_1234);
    assert_eq!(ecam.mmio_read(0, at + 2, W), 0x5678);
    assert_eq!(ecam.mmio_read(0, at + 8, q) as u32, 0xff00_0003);
    ecam.mmio_write(0, at + 0x10, q, 0xd000_0000_0000_c000);
    assert_eq!(b.get(AT, 0x10, D), 0xc001, "ports");
    assert_eq!(b.get(AT, 0x14, D), 0xd000_0000, "memory");
    // No function; no extended space; across a doubleword; behind the last function.
    let absent = u64::from(Address::new(30, 0).0) << 12;
    assert_eq!(ecam.mmio_read(0, absent, D), 0xffff_ffff);
    assert_eq!(ecam.mmio_read(0, at + 0x100, D), 0xffff_ffff);
    assert_eq!(ecam.mmio_read(0, at + 3, W), 0xffff);
    assert_eq!(ecam.mmio_read(0, Ecam::SIZE - 1, B), 0xff);
    ecam.mmio_write(0, at + 0x110, D, 0);
    assert_eq!(b.get(AT, 0x10, D), 0xc001);
}

#[test]
fn the_header_says_who_it_is_and_absent_functions_read_as_ones() {
    let b = bench();
    assert_eq!(b.get(Address::new(0, 0), 0, D), 0x1237_8086);
    assert_eq!(b.get(Address::new(0, 0), 0x0b, B), 6);
    assert_eq!(b.get(AT, 0, D), 0x5678_1234);
    assert_eq!(b.get(AT, 2, W), 0x5678);
    assert_eq!(b.get(AT, 8, D), 0xff00_0003);
    assert_eq!(b.get(AT, 0x2c, D), 0x1100_1af4);
    assert_eq!(b.get(AT, 0x3d, B), 1);
    assert_eq!(b.get(AT, 0x0e, B), 0);
    assert_eq!(b.get(Address::new(1, 0), 0x0e, B), 0x80, "two functions");
    assert_eq!(b.get(Address::new(1, 0), 0x0c, D), 0x0080_0000);
    for nobody in [Address::new(2, 0), Address::new(1, 1), Address::new(31, 7)] {
        assert_eq!(b.get(nobody, 0, D), u32::MAX);
        b.set(nobody, 0, D, 0);
    }
    b.bus.port_write(0xcf8, D, 0x8001_0000);
    assert_eq!(b.bus.port_read(0xcfc, D), u32::MAX, "bus 1");
    b.bus.port_write(0xcf8, D, 0);
    assert_eq!(b.bus.port_read(0xcfc, D), u32::MAX, "disabled");
    b.set(AT, 0, D, 0);
    assert_eq!(b.get(AT, 0, D), 0x5678_1234, "read-only");
}

#[test]
fn shadow_ram_shows_by_the_attribute_map() {
    use memory::Rights;
    let b = bench();
    let bridge = Address::new(0, 0);
    let rights = |at: u64| b.ram.rights(at >> 12);
    for at in [0xa_0000, 0xb_f000, 0xc_0000, 0xe_0000, 0xf_f000] {
        assert_eq!(rights(at), Rights::Bus, "{at:#x}");
    }
    assert_eq!(rights(0x9_f000), Rights::ReadWrite);
    b.set(bridge, 0x59, B, 0xff);
    assert_eq!(b.get(bridge, 0x59, B), 0x30);
    assert_eq!(rights(0xf_0000), Rights::ReadWrite);
    assert_eq!(rights(0xe_f000), Rights::Bus);
    b.set(bridge, 0x5a, D, 0x0000_0012);
    assert_eq!(rights(0xc_3000), Rights::Write);
    assert_eq!(rights(0xc_4000), Rights::Read);
    assert_eq!(rights(0xc_8000), Rights::Bus);
    b.set(bridge, 0x5f, B, 0x30);
    assert_eq!(rights(0xe_c000), Rights::ReadWrite);
    assert_eq!(rights(0xe_8000), Rights::Bus);
    b.set(bridge, 0x72, B, 0x4a);
    assert_eq!(rights(0xa_0000), Rights::ReadWrite);
    b.bus.reset();
    assert_eq!(rights(0xf_0000), Rights::Bus);
    assert_eq!(rights(0xa_0000), Rights::Bus);
}

#[test]
fn port_cf9_resets() {
    let b = bench();
    b.bus.port_write(0xcf8, D, 0x8000_0000);
    b.bus.port_write(0xcf9, B, 6);
    let reset = StopReason::Reset(ResetSource::ResetControl);
    assert_eq!(b.stop.take(), Some(reset));
    assert_eq!(b.bus.port_read(0xcf9, B), 6);
    assert_eq!(b.bus.port_read(0xcf8, D), 0x8000_0000, "the address stays");
}

#[test]
fn base_address_registers_tell_their_size() {
    let b = bench();
    for (register, want) in [
        (0x10, 0xffff_ffe1),
        (0x14, 0xffff_f000),
        (0x18, 0),
        (0x20, 0xffff_c00c),
        (0x24, 0xffff_ffff),
        (0x30, 0xffff_f801),
    ] {
        b.set(AT, register, D, u32::MAX);
        assert_eq!(b.get(AT, register, D), want, "{register:#x}");
    }
}

#[test]
fn regions_move_and_go_with_the_command_register() {
    let b = bench();
    assert_eq!(b.load(0xd000_0004, D), 0xffff_ffff);
    b.place();
    assert_eq!(b.load(0xd000_0004, Q), 1 << 32 | 4);
    assert_eq!(b.load(0x80_0000_0008, Q), 4 << 32 | 8);
    assert_eq!(b.bus.port_read(0xc01f, B), 0x1f);
    b.set(AT, 0x14, D, 0xe000_0000);
    assert_eq!(b.load(0xd000_0004, D), 0xffff_ffff);
    assert_eq!(b.load(0xe000_0004, Q), 1 << 32 | 4);
    b.set(AT, 0x04, W, 1);
    assert_eq!(b.load(0xe000_0004, D), 0xffff_ffff);
    assert_eq!(b.bus.port_read(0xc004, B), 4);
    b.set(AT, 0x10, D, 0xcf8 & !0x1f);
    assert_eq!(b.bus.port_read(0xcf9, B), 0, "fixed ranges come first");
    assert_eq!(b.bus.port_read(0xce2, B), 2);
    b.set(AT, 0x30, D, 0xd800_0001);
    b.set(AT, 0x04, W, 2);
    assert_eq!(b.load(0xd800_0000, D), 0xff01_aa55);
    b.store(0xd800_0000, D, 0);
    b.set(AT, 0x30, D, 0xd800_0000);
    assert_eq!(b.load(0xd800_0000, D), 0xffff_ffff);
}

#[test]
fn dma_needs_bus_mastering() {
    let b = bench();
    b.place();
    b.ram.write(GuestPhys(0x100), &[1, 2, 3, 4]).unwrap();
    b.set(AT, 0x04, W, 3);
    b.copy(0);
    assert_eq!(b.ram.load::<u32>(GuestPhys(0x200)).unwrap(), 0);
    b.set(AT, 0x04, W, 7);
    b.copy(0);
    assert_eq!(b.ram.load::<u32>(GuestPhys(0x200)).unwrap(), 0x0403_0201);
}

#[test]
fn intx_goes_where_the_router_says() {
    let b = bench();
    b.place();
    let isa = Address::new(1, 0);
    b.pic.clone().port_write(2, 1, B, 0x0c);
    // Device 3 pin A is PIRQC.
    b.set(isa, 0x62, B, 11);
    b.copy(0);
    assert!(b.requested(11));
    assert_eq!(b.get(AT, 0x06, W) >> 3 & 1, 1, "interrupt status");
    b.set(isa, 0x62, B, 10);
    assert!(!b.requested(11) && b.requested(10));
    b.set(isa, 0x60, B, 10);
    b.set(isa, 0x60, B, 0x80);
    assert!(b.requested(10));
    b.set(AT, 0x04, W, 0x407);
    assert!(!b.requested(10), "INTx disabled");
    b.set(AT, 0x04, W, 7);
    assert!(b.requested(10));
    b.bus.port_read(0xc000, B);
    assert!(!b.requested(10));
    b.copy(0);
    b.bus.reset();
    assert_eq!(b.get(isa, 0x62, B), 0x80);
    assert_eq!(b.get(AT, 0x14, D), 0);
}

#[test]
fn msi_sends_masks_and_shares_vectors() {
    let b = bench();
    b.place();
    let at = b.capability(5);
    assert_eq!(b.get(AT, at + 2, W), 0x0184);
    b.set(AT, at + 4, D, 0xfee0_1000);
    b.set(AT, at + 12, W, 0x4042);
    b.set(AT, at + 2, W, 0x0021);
    b.copy(3);
    assert_eq!(b.mail(), [(0xfee0_1000, 0x4043)]);
    b.set(AT, at + 2, W, 0x0001);
    b.copy(3);
    assert_eq!(b.mail(), [(0xfee0_1000, 0x4042)]);
    b.set(AT, at + 16, D, u32::MAX);
    assert_eq!(b.get(AT, at + 16, D), 15);
    b.copy(0);
    assert_eq!(b.mail(), []);
    assert_eq!(b.get(AT, at + 20, D), 1);
    b.set(AT, at + 16, D, 0);
    assert_eq!(b.mail(), [(0xfee0_1000, 0x4042)]);
    assert_eq!(b.get(AT, at + 20, D), 0);
    b.set(AT, 0x04, W, 3);
    b.copy(0);
    assert_eq!(b.mail(), [], "a message is a bus transaction of its own");
}

#[test]
fn msix_has_its_table_in_memory() {
    let b = bench();
    b.place();
    let at = b.capability(0x11);
    assert_eq!(b.get(AT, at + 2, W), 69);
    assert_eq!(b.get(AT, at + 4, D), 0x1004);
    assert_eq!(b.get(AT, at + 8, D), 0x2004);
    let (table, pending) = (0x80_0000_1000, 0x80_0000_2000);
    let entry = table + 16 * 69;
    assert_eq!(b.load(entry + 12, D), 1, "masked at reset");
    b.store(entry, Q, 0x12_fee0_2000);
    b.store(entry + 8, D, 0x55);
    b.set(AT, at + 2, W, 0xc000);
    b.store(entry + 12, D, 0);
    b.copy(69);
    assert_eq!(b.mail(), []);
    assert_eq!(b.load(pending + 8, Q), 1 << 5);
    b.set(AT, at + 2, W, 0x8000);
    assert_eq!(b.mail(), [(0x12_fee0_2000, 0x55)]);
    assert_eq!(b.load(pending + 8, Q), 0);
    b.store(entry + 12, D, 1);
    b.copy(69);
    b.copy(70);
    assert_eq!(b.mail(), []);
    b.store(entry + 12, D, 0);
    assert_eq!(b.mail(), [(0x12_fee0_2000, 0x55)]);
    assert_eq!(b.load(table + 16 * 70, Q), 4 << 32 | 0x1460, "behind it");
}

#[test]
fn kernels_without_firmware_find_everything_placed() {
    let b = bench();
    b.pci
        .assign(0xc000..=0xcfff, 0xe000_0000..=0xefff_ffff, |d, p| d + p);
    assert_eq!(b.get(AT, 0x04, W), 3);
    assert_eq!(b.get(AT, 0x10, D), 0xc001);
    assert_eq!(b.get(AT, 0x20, D), 0xe000_000c);
    assert_eq!(b.get(AT, 0x14, D), 0xe000_4000);
    assert_eq!(b.get(AT, 0x3c, B), 3);
    assert_eq!(b.load(0xe000_4008, Q), 1 << 32 | 8);
}

#[test]
fn state_survives_saving() {
    let b = bench();
    b.place();
    let at = b.capability(0x11);
    b.set(AT, at + 2, W, 0x8000);
    b.store(0x80_0000_1000, D, 0xfee0_0000);
    let saved = b.bus.save().unwrap();
    b.bus.reset();
    assert_eq!(b.load(0xd000_0004, D), 0xffff_ffff);
    b.bus.restore(&saved).unwrap();
    assert_eq!(b.load(0xd000_0004, Q), 1 << 32 | 4);
    assert_eq!(b.load(0x80_0000_1000, D), 0xfee0_0000);
}

#[test]
fn survives_anything() {
    let b = bench();
    let mut f = Fuzz::new(0xcf8);
    for _ in 0..300_000 {
        let at = Address([0, 8, 11, 24][f.below(4) as usize]);
        let (offset, size) = (f.value() as u8, f.size());
        if f.flip() {
            b.set(at, offset, size, f.value() as u32);
        } else {
            b.get(at, offset, size);
        }
        match f.below(8) {
            0 => {
                let bar = u64::from(b.get(AT, 0x20, D) & !15);
                let at = bar + (f.value() & 0x3fff);
                b.store(at, Q, f.value());
                b.load(at, Q);
            }
            1 => {
                let bar = u64::from(b.get(AT, 0x14, D) & !15);
                b.store(bar + 8 * f.below(3), D, f.value());
            }
            _ => {}
        }
        if f.below(1000) == 0 {
            b.bus.reset();
        }
        b.mail();
    }
}

//! PCI: configuration ports and their memory, host bridge, the ISA bridge with its interrupt router, power management.

use crate::target::Target;
use devices::pci::{Address, Ecam, I440Fx, Piix3, Piix4Pm, PirqRouter};
use devices::{AcpiPm, PciConfig, acpi_pm};

/// Where the board has the ECAM.
const ECAM: u64 = 0xfef0_0000;

pub fn pci_config() -> Target {
    let mut t = Target::default();
    let (pci, stop) = (t.world.pci.clone(), t.world.stop.clone());
    t.ports(PciConfig::new(pci.clone(), stop.clone()), &[0xcf8..=0xcff]);
    t.memory(Ecam::new(pci), ECAM..=ECAM + Ecam::SIZE - 1);
    let (ram, router) = (t.world.ram.clone(), t.world.router.clone());
    t.plug(I440Fx::config(), |_| I440Fx::new(ram));
    t.plug(Piix3::config(), |_| Piix3::new(router));
    let pm = AcpiPm::new(
        t.world.clock.clone(),
        t.alarm(),
        t.world.irqs.isa(9),
        stop,
        acpi_pm::TimerWidth::Bits32,
    );
    let pm = t.ports(pm, &[]);
    let block = t.world.bus.port_window(pm, acpi_pm::REGION_PM);
    t.plug(Piix4Pm::config(), |_| Piix4Pm::new(block));
    // Configuration mechanism 1, as systems use it.
    t.action(|w, i| {
        use bus::AccessSize::Dword;
        let function = Address::new(i.choose(&[3, 4, 5, 31]), i.choose(&[0, 0, 0, 7]));
        let at = u32::from(function.device()) << 11 | u32::from(function.function()) << 8;
        w.out(0xcf8, Dword, 1 << 31 | at | u32::from(i.byte() & 0xfc));
        let (size, within) = (i.size().min(Dword), u16::from(i.byte() & 3));
        match i.flip() {
            true => w.out(0xcfc + within, size, i.value() as u32),
            false => _ = w.get(0xcfc + within, size),
        }
    });
    // Pins of slots.
    t.action(|w, i| {
        let sink: std::sync::Arc<PirqRouter> = std::sync::Arc::new(w.router.clone());
        bus::line::IrqSink::set_level(&*sink, i.dword(), i.flip());
    });
    t
}

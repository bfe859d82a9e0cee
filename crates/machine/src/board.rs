//! The wiring: which chips there are, where they answer, and where their lines go.

use crate::console::{self, Console};
use crate::drives::Drives;
use crate::firmware::{self, Images};
use crate::image::BootImage;
use crate::media::Media;
use crate::serial::SerialInput;
use crate::{Config, DebugExit, Error, Vga, cards, layout, shares};
use arch::GuestPhys;
use bus::{AccessSize, Alarm, Attention, Bus, Clock, IrqLine, LocalApic, StopRequest};
use devices::hpet::HpetWires;
use devices::mc146818::MemorySize;
use devices::pci::{Address, Ecam, I440Fx, Piix3, Piix4Pm, PirqRouter, SHADOW_OPEN};
use devices::reset::{A20Gate, SystemControlA};
use devices::uart16550::ByteSink;
use devices::virtio::{Rng, VirtioPci};
use devices::{
    AcpiPm, ApicBus, DebugConsole, Flash, FwCfg, Hpet, I8042, I8237, I8254, I8259, IoApic,
    IrqRouter, Mc146818, NumericError, PciBus, PciConfig, RomAlias, TestDevice, Uart16550, acpi_pm,
};
use memory::Ram;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

/// Physical address bits that the local APICs' base register accepts.
const PHYSICAL_BITS: u32 = 40;

/// The wired board, without its processor.
pub(crate) struct Board {
    pub bus: Arc<Bus>,
    pub pci: PciBus,
    pub apic: Arc<dyn LocalApic>,
    pub input: SerialInput,
    pub console: Console,
    pub media: Media,
    /// Where the processor's FERR# goes.
    pub ferr: IrqLine,
}

/// A bus under construction.
struct Builder {
    bus: Bus,
}

impl Builder {
    /// An alarm for the device that is added next.
    fn alarm(&self) -> Alarm {
        self.bus.clock().alarm(self.bus.next_index())
    }

    /// Places `device` at these port ranges, region 0 first.
    fn ports<D: bus::Device + 'static>(
        &mut self,
        device: D,
        ranges: &[RangeInclusive<u16>],
    ) -> Result<usize, Error> {
        let index = self.bus.add(Arc::new(Mutex::new(device)));
        for (region, range) in ranges.iter().enumerate() {
            self.bus.map_ports(index, region, range.clone())?;
        }
        Ok(index)
    }

    /// What every PC has since the AT and the PS/2, and the HPET.
    fn legacy(
        &mut self,
        config: &Config,
        clock: Arc<Clock>,
        irqs: &IrqRouter,
        stop: &StopRequest,
        floppies: [u8; 2],
    ) -> Result<(I8042, I8237), Error> {
        let low = config.memory.min(layout::LOW_RAM_LIMIT);
        let memory = MemorySize {
            below_4g: low,
            above_4g: config.memory - low,
        };
        let start = bus::clock::wall_seconds();
        let rtc = Mc146818::new(clock.clone(), self.alarm(), irqs.isa(8), start, memory)
            .with_floppies(floppies);
        self.ports(rtc, &[0x70..=0x71])?;

        let a20 = A20Gate::new();
        let keyboard = I8042::new(irqs.isa(1), irqs.isa(12), a20.clone(), stop.clone());
        self.ports(keyboard.clone(), &[0x60..=0x60, 0x64..=0x64])?;
        self.ports(SystemControlA::new(a20, stop.clone()), &[0x92..=0x92])?;
        let dma = I8237::new();
        self.ports(dma.clone(), &[0x00..=0x0f, 0xc0..=0xdf, 0x80..=0x8f])?;
        let hpet = Hpet::new(clock, self.alarm(), HpetWires::new(irqs));
        self.mmio(hpet, layout::HPET..=layout::HPET + 0x3ff)?;
        Ok((keyboard, dma))
    }

    /// Flash chips with firmware: below 4 GiB, and its end below 1 MiB as well.
    fn firmware(&mut self, ram: &Arc<Ram>, images: &Images, bank: usize) -> Result<(), Error> {
        let (size, start, variables) = (images.size(), images.start(), images.variables);
        ram.write_bank(bank, 0, &images.bytes);
        ram.place(bank, Some(GuestPhys(start)));
        let code = Flash::new(
            "flash0",
            ram.clone(),
            bank,
            variables,
            size - variables,
            None,
        );
        self.mmio(code, start + variables..=start + (size - 1))?;
        if variables > 0 {
            let file = images.sink()?;
            let store = Flash::new("flash1", ram.clone(), bank, 0, variables, file);
            self.mmio(store, start..=start + variables - 1)?;
        }
        let shown = images.alias();
        let alias = RomAlias::new(ram.clone(), bank, size - shown);
        self.mmio(
            alias,
            layout::FIRMWARE_END - shown..=layout::FIRMWARE_END - 1,
        )
    }

    /// What people who write kernels and emulators ask for.
    fn debug(&mut self, config: &Config, irqs: &IrqRouter) -> Result<(), Error> {
        for (port, path) in &config.debug_ports.consoles {
            let mut file = std::fs::File::create(path).map_err(|source| Error::Create {
                role: "debug console's file",
                path: path.clone(),
                source,
            })?;
            let path = path.clone();
            let sink: ByteSink = Box::new(move |bytes| {
                if let Err(e) = std::io::Write::write_all(&mut file, bytes) {
                    tracing::error!(target: "machine", path = %path.display(), error = %e, "cannot write debug output");
                }
            });
            self.ports(DebugConsole::new(*port, sink), &[*port..=*port])?;
        }
        if config.debug_ports.test_device {
            let lines = (0..IoApic::PINS as u8).map(|n| irqs.gsi(n)).collect();
            let index = self.ports(TestDevice::new(lines), &layout::TEST_PORTS)?;
            let memory = layout::TEST_MEMORY;
            let last = memory + devices::testdev::MMIO_SIZE - 1;
            let region = devices::testdev::REGION_MMIO;
            self.bus.map_mmio(index, region, memory..=last)?;
        }
        Ok(())
    }

    /// PCI bus 0 with its bridges; `pm` is the index of the power management block.
    fn pci(
        &mut self,
        ram: &Arc<Ram>,
        apics: &Arc<ApicBus>,
        irqs: &IrqRouter,
        stop: &StopRequest,
        pm: usize,
    ) -> Result<PciBus, Error> {
        let router = PirqRouter::new(irqs);
        let pci = PciBus::new(ram.clone(), apics.clone(), router.clone());
        self.ports(PciConfig::new(pci.clone(), stop.clone()), &[0xcf8..=0xcff])?;
        let ecam = layout::ECAM..=layout::ECAM + Ecam::SIZE - 1;
        self.mmio(Ecam::new(pci.clone()), ecam)?;
        let bus = &mut self.bus;
        pci.plug(bus, layout::pci::HOST_BRIDGE, I440Fx::config(), |_| {
            I440Fx::new(ram.clone())
        });
        pci.plug(bus, layout::pci::ISA_BRIDGE, Piix3::config(), |_| {
            Piix3::new(router)
        });
        let block = bus.port_window(pm, acpi_pm::REGION_PM);
        pci.plug(bus, layout::pci::POWER, Piix4Pm::config(), |_| {
            Piix4Pm::new(block)
        });
        Ok(pci)
    }

    /// A source of entropy at the next PCI device.
    fn rng(&mut self, pci: &PciBus, next_device: &mut u8) {
        let at = Address::new(std::mem::replace(next_device, *next_device + 1), 0);
        pci.plug(&mut self.bus, at, VirtioPci::<Rng>::config(), |wires| {
            VirtioPci::new("virtio-rng0", wires, Rng::new)
        });
    }

    /// Places `device` at this memory range.
    fn mmio<D: bus::Device + 'static>(
        &mut self,
        device: D,
        range: RangeInclusive<u64>,
    ) -> Result<(), Error> {
        let index = self.bus.add(Arc::new(Mutex::new(device)));
        self.bus.map_mmio(index, 0, range)?;
        Ok(())
    }
}

impl Board {
    /// All chips of a PC.
    pub(crate) fn new(
        config: &Config,
        image: &BootImage,
        clock: Arc<Clock>,
        ram: &Arc<Ram>,
        attention: &Arc<Attention>,
        stop: &StopRequest,
        serial: ByteSink,
    ) -> Result<Self, Error> {
        let mut b = Builder {
            bus: Bus::new(clock.clone()),
        };
        let apics = ApicBus::new(
            clock.clone(),
            PHYSICAL_BITS,
            std::slice::from_ref(attention),
        );
        let pic = I8259::new(apics.lint(0, 0));
        apics.connect_pic(&pic);
        let ioapic = IoApic::new(apics.clone());
        let irqs = IrqRouter::new(&pic, &ioapic);

        let alarm = b.alarm();
        b.ports(apics.device(0, alarm), &[])?;
        b.ports(pic, &[0x20..=0x21, 0xa0..=0xa1, 0x4d0..=0x4d1])?;
        b.mmio(ioapic, layout::IOAPIC..=layout::IOAPIC + 0xfff)?;
        b.ports(irqs.clone(), &[])?;

        let pit = I8254::new(clock.clone(), b.alarm(), irqs.isa(0));
        b.ports(pit, &[0x40..=0x43, 0x61..=0x61])?;
        let pm = AcpiPm::new(
            clock.clone(),
            b.alarm(),
            irqs.isa(layout::SCI),
            stop.clone(),
            acpi_pm::TimerWidth::Bits32,
        );
        let (block, gpe) = (layout::PM_BASE, layout::GPE0);
        let power = pm.clone();
        let pm = b.ports(
            pm,
            &[
                block..=block + 0xf,
                gpe..=gpe + u16::from(layout::GPE0_LENGTH) - 1,
                layout::SMI_COMMAND..=layout::SMI_COMMAND + 1,
                layout::ACPI_RESET..=layout::ACPI_RESET,
            ],
        )?;
        let uart = Uart16550::new("uart0", clock.clone(), b.alarm(), irqs.isa(4), serial);
        let input = uart.input();
        b.ports(uart, &[layout::COM1..=layout::COM1 + 7])?;
        let drives = Drives::open(&config.drives)?;
        let floppies = drives.floppy_types();
        let (keyboard, dma) = b.legacy(config, clock.clone(), &irqs, stop, floppies)?;
        drives.floppy(&mut b.bus, &irqs, &dma, ram)?;
        let pci = b.pci(ram, &apics, &irqs, stop, pm)?;
        let vga = match config.vga {
            Vga::Absent => None,
            Vga::Present => Some(console::plug_vga(
                &mut b.bus,
                &pci,
                ram,
                layout::VIDEO_BANK,
                clock,
                image.video_bios(),
            )?),
        };
        drives.ide(&mut b.bus, &pci, &irqs)?;
        let mut next_device = layout::pci::FIRST_FREE;
        drives.sata(&mut b.bus, &pci, &mut next_device);
        drives.virtio(&mut b.bus, &pci, &mut next_device);
        cards::plug(&config.cards, &mut b.bus, &pci, &mut next_device)?;
        shares::plug(&config.shares, &mut b.bus, &pci, &mut next_device)?;
        b.rng(&pci, &mut next_device);
        if let Some(images) = image.firmware() {
            let bank = usize::from(config.vga == Vga::Present);
            b.firmware(ram, images, bank)?;
        }
        let bootable = drives.bootable();
        let kernel = image.offered_kernel();
        let items = firmware::items(config, image.firmware(), kernel, &bootable);
        let port = layout::FW_CFG;
        b.ports(FwCfg::new(items, ram.clone()), &[port..=port + 11])?;
        b.debug(config, &irqs)?;
        let errors = NumericError::new(irqs.isa(13));
        let ferr = errors.ferr();
        b.ports(errors, &[0xf0..=0xf0])?;
        if config.debug_exit == DebugExit::Present {
            let port = layout::DEBUG_EXIT;
            b.ports(devices::DebugExit::new(stop.clone()), &[port..=port + 3])?;
        }
        Ok(Self {
            bus: Arc::new(b.bus),
            pci,
            apic: apics.local(0),
            input: SerialInput::new(input),
            console: Console::new(vga, keyboard, power),
            media: drives.media(),
            ferr,
        })
    }
}

impl Board {
    /// What firmware does to the bridges and to PCI before it boots a system, for a kernel that is loaded without one.
    pub(crate) fn place_pci(bus: &Bus, pci: &PciBus, memory: u64) {
        const PIRQRC: u8 = 0x60;
        for (register, value) in SHADOW_OPEN {
            let bridge = layout::pci::HOST_BRIDGE;
            pci.config_write(bridge, register, AccessSize::Byte, value.into());
        }
        for (n, line) in (0..).zip(layout::PIRQ_LINES) {
            let register = PIRQRC + n;
            pci.config_write(
                layout::pci::ISA_BRIDGE,
                register,
                AccessSize::Byte,
                line.into(),
            );
        }
        let levels = layout::PIRQ_LINES
            .iter()
            .fold(0, |bits, line| bits | 1u32 << (line & 7));
        bus.port_write(layout::ELCR2, AccessSize::Byte, levels);
        pci.assign(
            layout::PCI_PORTS,
            layout::pci_memory(memory),
            |device, pin| layout::PIRQ_LINES[usize::from(devices::pci::pirq(device, pin) & 3)],
        );
    }
}

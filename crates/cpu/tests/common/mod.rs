//! A processor with RAM and nothing else, for tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use arch::cpuid::{Feature, FeatureSet};
use arch::{Segment, Size};
use bus::clock::Pace;
use bus::{Attention, Bus, Clock, LocalApic, StopRequest};
use cpu::{BootState, Cpu, Model, Parts};
use iced_x86::code_asm::CodeAssembler;
use memory::Ram;
use std::sync::Arc;

/// A local APIC that never interrupts.
pub struct NoApic;

impl LocalApic for NoApic {
    fn has_interrupt(&self) -> bool {
        false
    }
    fn acknowledge(&self) -> Option<u8> {
        None
    }
    fn take_sipi(&self) -> Option<u8> {
        None
    }
    fn cr8(&self) -> u8 {
        0
    }
    fn set_cr8(&self, _: u8) {}
    fn read_msr(&self, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&self, _: u32, _: u64) -> bool {
        false
    }
    fn mmio_base(&self) -> Option<u64> {
        None
    }
    fn mmio_read(&self, _: u64) -> u32 {
        0
    }
    fn mmio_write(&self, _: u64, _: u32) {}
    fn id(&self) -> u32 {
        0
    }
    fn init(&self) {}
}

/// Where [`machine`] puts code.
pub const CODE: u64 = 0x1_0000;
/// Where RSP starts.
pub const STACK: u64 = 0x8_0000;

/// A processor in a flat mode of `size` bits at CPL 0 with `code` at [`CODE`]: real-address mode for 16 bits, protected mode without
/// paging for 32, 64-bit mode with the first GiB mapped to itself for 64.
pub fn machine(size: Size, code: &[u8]) -> Box<Cpu> {
    let ram = Ram::new(4 << 20).unwrap();
    ram.write(arch::GuestPhys(CODE), code).unwrap();
    let attention = Arc::new(Attention::default());
    let parts = Parts {
        ram: ram.clone(),
        bus: Arc::new(Bus::new(Clock::new(Pace::Instructions {
            ns_per_1024: 1024,
        }))),
        apic: Arc::new(NoApic),
        attention: attention.clone(),
        stop: StopRequest::new(vec![attention]),
    };
    // Everything, whatever else of its feature is in the table: tests look at single instructions.
    let mut model = Model::by_name("max").unwrap();
    model.features = FeatureSet::of(Feature::ALL);
    let mut cpu = Cpu::new(model, parts);
    let flat = |attributes| Segment {
        base: 0,
        limit: u32::MAX,
        selector: 0x10,
        attributes,
    };
    let (cr0, cr4, efer, cs, data) = match size {
        Size::B16 => (
            0x10,
            0x600,
            0,
            Segment::real((CODE >> 4) as u16, Segment::REAL_CODE),
            Segment::real(0, Segment::REAL_DATA),
        ),
        Size::B32 => (0x11, 0x600, 0, flat(0xc09b), flat(0xc093)),
        Size::B64 => (0x8000_0011, 0x620, 0x500, flat(0xa09b), flat(0xc093)),
    };
    let (pml4, pdpt) = (0x10_0000u64, 0x10_1000u64);
    ram.write(arch::GuestPhys(pml4), &(pdpt | 7).to_le_bytes())
        .unwrap();
    ram.write(arch::GuestPhys(pdpt), &0x87u64.to_le_bytes())
        .unwrap();
    let mut gpr = [0; 16];
    gpr[4] = STACK & if size == Size::B16 { 0xfff0 } else { u64::MAX };
    cpu.set_boot_state(&BootState {
        gpr,
        rip: if size == Size::B16 { 0 } else { CODE },
        rflags: 2,
        cr0,
        cr3: pml4,
        cr4,
        efer,
        cs,
        ds: data,
        es: data,
        ss: data,
        fs: data,
        gs: data,
        tr: Segment {
            attributes: 0x8b,
            ..Segment::default()
        },
        ldtr: Segment::default(),
        gdtr: (0, 0),
        idtr: (0, 0),
    });
    cpu
}

/// Assembles with iced, runs instruction by instruction until RIP leaves the code, answers the processor and the first fault.
pub fn run(
    size: Size,
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
    prepare: impl FnOnce(&mut Cpu),
) -> (Box<Cpu>, Option<arch::Fault>) {
    let mut a = CodeAssembler::new(size.bits()).unwrap();
    write(&mut a).unwrap();
    let start = if size == Size::B16 { 0 } else { CODE };
    let code = a.assemble(start).unwrap();
    let mut cpu = machine(size, &code);
    prepare(&mut cpu);
    let inside = start..start + code.len() as u64;
    for _ in 0..100_000 {
        if !inside.contains(&cpu.rip) {
            return (cpu, None);
        }
        if let Err(f) = cpu.step() {
            return (cpu, Some(f));
        }
    }
    panic!("the code does not end");
}

//! One vCPU's view of memory: paging registers, TLB and RAM together.

use crate::{Access, Class, Paging, Ram, Tlb, Translation};
use arch::{Fault, GuestPhys, Uint};
use std::sync::Arc;

/// What stands behind a linear address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// RAM.
    Ram(GuestPhys),
    /// No RAM: the bus decides.
    Bus(GuestPhys),
}

/// The memory management unit of one vCPU.
#[repr(C)]
pub struct Mmu {
    pub tlb: Tlb,
    pub paging: Paging,
    ram: Arc<Ram>,
    /// TLB fills since power-on.
    pub fills: u64,
}

impl Mmu {
    /// An MMU over `ram`.
    pub fn new(ram: Arc<Ram>, paging: Paging) -> Self {
        Self {
            tlb: Tlb::new(),
            paging,
            ram,
            fills: 0,
        }
    }

    /// The machine's RAM.
    pub fn ram(&self) -> &Arc<Ram> {
        &self.ram
    }

    /// Walks for an access to one byte at `linear`, and lets the TLB serve what the walk permits from now on.
    #[cold]
    pub fn resolve(&mut self, class: Class, linear: u64, access: Access) -> Result<Target, Fault> {
        let t = self.paging.translate(&self.ram, linear, access, class)?;
        Ok(self.admit(class, linear, &t))
    }

    fn admit(&mut self, class: Class, linear: u64, t: &Translation) -> Target {
        let frame = t.addr.frame();
        if !self.ram.contains_frame(frame) {
            return Target::Bus(t.addr);
        }
        let p = &self.paging;
        let tags = [
            p.permits(t, Access::Read, class),
            t.dirty && p.permits(t, Access::Write, class) && !self.ram.is_code(frame),
            p.permits(t, Access::Fetch, class),
        ];
        self.fills += 1;
        self.tlb
            .fill(&self.ram, class, linear, frame, tags, t.shift, t.global);
        Target::Ram(t.addr)
    }

    /// The guest-physical address of code at `linear`, through the TLB.
    #[inline]
    pub fn fetch_frame(&mut self, class: Class, linear: u64) -> Result<Target, Fault> {
        self.resolve(class, linear, Access::Fetch)
    }

    /// Notes that code is made from these lines of `frame` and takes its write tags; tells its generation.
    pub fn mark_code(&mut self, frame: u64, lines: u64) -> Option<u32> {
        let (generation, new) = self.ram.mark_code(frame, lines)?;
        if new {
            self.tlb.protect(&self.ram, frame);
        }
        Some(generation)
    }

    /// From now on what stores replace, and what the TLB takes in, is recorded: for checking one engine against another.
    pub fn start_journal(&mut self) {
        self.ram.start_journal();
        self.tlb.start_journal(&self.ram);
    }

    /// Records no more.
    pub fn stop_journal(&mut self) {
        self.ram.stop_journal();
        self.tlb.stop_journal();
    }

    /// RAM and the TLB as they were when the record was started. What was flushed since is not undone: [`Tlb::epoch`] tells.
    pub fn undo_journal(&mut self) {
        self.ram.undo_journal();
        self.tlb.undo_journal();
    }

    /// A plain value at a guest-physical address of RAM.
    pub fn load_phys<T: Uint>(&self, addr: GuestPhys) -> Option<T> {
        self.ram.load(addr).ok()
    }
}

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
        Ok(self.admit(class, linear, access, &t))
    }

    fn admit(&mut self, class: Class, linear: u64, access: Access, t: &Translation) -> Target {
        let frame = t.addr.frame();
        let rights = self.ram.rights(frame);
        let memory = match access {
            Access::Write => rights.write(),
            Access::Read | Access::Fetch => rights.read(),
        };
        if !memory {
            return Target::Bus(t.addr);
        }
        let p = &self.paging;
        let tags = [
            rights.read() && p.permits(t, Access::Read, class),
            rights.write() && t.dirty && p.permits(t, Access::Write, class),
            rights.read() && p.permits(t, Access::Fetch, class),
        ];
        self.fills += 1;
        self.tlb
            .fill(&self.ram, class, linear, frame, tags, t.shift, t.global);
        Target::Ram(t.addr)
    }

    /// Where `len` bytes at `linear`, inside one page, stand in RAM if the fast path may serve `access` to them with the rights of `class`. The
    /// page is brought in if need be; without a fault if that is not permitted.
    pub fn page_for(
        &mut self,
        class: Class,
        linear: u64,
        len: usize,
        access: Access,
    ) -> Option<GuestPhys> {
        let known = |m: &Self| m.tlb.host(class as usize, linear, len, access);
        let host = match known(self) {
            Some(h) => h,
            None => {
                self.resolve(class, linear, access).ok()?;
                known(self)?
            }
        };
        self.ram.guest_of(host as u64)
    }

    /// [`Mmu::page_for`] a write, which may be to a page that holds code; and how many of the bytes come before any code.
    pub fn page_for_write(
        &mut self,
        class: Class,
        linear: u64,
        len: usize,
    ) -> Option<(GuestPhys, usize)> {
        if let Some(p) = self.page_for(class, linear, len, Access::Write) {
            return Some((p, len));
        }
        let p = self.guarded(class as usize, linear, len)?;
        Some((p, self.ram.free_of_code(p, len)))
    }

    /// The guest-physical address of code at `linear`, through the TLB.
    #[inline]
    pub fn fetch_frame(&mut self, class: Class, linear: u64) -> Result<Target, Fault> {
        self.resolve(class, linear, Access::Fetch)
    }

    /// Where a store of `len` bytes at `addr` goes that only the guard of code keeps from the TLB's fast path. Without code there for long
    /// enough the guard is lifted.
    #[inline]
    pub fn guarded(&mut self, class: usize, addr: u64, len: usize) -> Option<GuestPhys> {
        let host = self.tlb.guarded(class, addr, len)?;
        let p = self.ram.guest_of(host)?;
        let frame = p.frame();
        if !self.ram.is_code_at(p, len) {
            self.ram.count_idle_store(frame);
            if !self.ram.is_guarded(frame) {
                self.tlb.unguard(&self.ram, class, addr, frame);
            }
        }
        Some(p)
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

//! Memory accesses that the TLB's fast path does not serve: first touches, MMIO, page crossings, stores to code, checked accesses.

use crate::state::Cpu;
use arch::{Exception, Fault, GuestPhys, PAGE_MASK, PAGE_SIZE, Rflags, Seg, Uint, is_canonical};
use bus::AccessSize;
use memory::{Access, Class, Target};
use semantics::emit::Use;

fn size(bytes: u64) -> AccessSize {
    match bytes {
        1 => AccessSize::Byte,
        2 => AccessSize::Word,
        4 => AccessSize::Dword,
        _ => AccessSize::Qword,
    }
}

impl Cpu {
    /// The TLB array for accesses with the rights of `class`: for the current ones, the array that lets checked accesses through to
    /// their checks.
    #[inline(always)]
    fn array(&self, class: Class) -> usize {
        if class == self.class {
            self.probe
        } else {
            class as usize
        }
    }

    /// Reads at a linear address with the rights of `class`.
    #[inline(always)]
    pub fn load_linear<T: Uint>(&mut self, class: Class, seg: Seg, addr: u64) -> Result<T, Fault> {
        match self.mmu.tlb.read::<T>(self.array(class), addr) {
            Some(v) => Ok(v),
            None => self.load_slow(class, seg, addr),
        }
    }

    /// Writes at a linear address with the rights of `class`.
    #[inline(always)]
    pub fn store_linear<T: Uint>(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
        v: T,
    ) -> Result<(), Fault> {
        if self.mmu.tlb.write::<T>(self.array(class), addr, v) {
            return Ok(());
        }
        self.store_slow(class, seg, addr, v)
    }

    #[cold]
    pub(crate) fn load_slow<T: Uint>(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
    ) -> Result<T, Fault> {
        self.counters.slow_reads += 1;
        let bytes = size_of::<T>() as u64;
        self.check_access(class, seg, addr, bytes, Use::Read)?;
        let first = PAGE_SIZE - (addr & PAGE_MASK);
        if first >= bytes {
            let target = self.resolve(class, addr, Access::Read)?;
            return Ok(T::of(self.read_target(target, bytes)));
        }
        let low = self.resolve(class, addr, Access::Read)?;
        let next = self.wrapped(addr.wrapping_add(first));
        let high = self.resolve(class, next, Access::Read)?;
        Ok(T::of(
            self.read_bytes(low, first) | self.read_bytes(high, bytes - first) << (8 * first),
        ))
    }

    #[cold]
    pub(crate) fn store_slow<T: Uint>(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
        v: T,
    ) -> Result<(), Fault> {
        self.counters.slow_writes += 1;
        let bytes = size_of::<T>() as u64;
        if let Some(p) = self.guarded(class, addr, bytes) {
            self.counters.guarded_stores += 1;
            self.write_bytes(Target::Ram(p), bytes, v.u64());
            return Ok(());
        }
        self.check_access(class, seg, addr, bytes, Use::Write)?;
        let v = v.u64();
        let first = PAGE_SIZE - (addr & PAGE_MASK);
        let low = self.resolve(class, addr, Access::Write)?;
        if first >= bytes {
            self.write_target(low, bytes, v);
            return Ok(());
        }
        let next = self.wrapped(addr.wrapping_add(first));
        let high = self.resolve(class, next, Access::Write)?;
        self.write_bytes(low, first, v);
        self.write_bytes(high, bytes - first, v >> (8 * first));
        Ok(())
    }

    /// Where a store that needs no checks goes if its page is known and only holds code, or did not long ago.
    #[inline]
    pub fn guarded(&mut self, class: Class, addr: u64, bytes: u64) -> Option<GuestPhys> {
        let array = self.array(class);
        self.mmu.guarded(array, addr, bytes as usize)
    }

    /// Faults as a store of `bytes` bytes would.
    pub(crate) fn probe_slow(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
        bytes: u64,
    ) -> Result<(), Fault> {
        self.check_access(class, seg, addr, bytes, Use::Write)?;
        let mut at = addr;
        let mut left = bytes;
        while left > 0 {
            self.resolve(class, at, Access::Write)?;
            let step = (PAGE_SIZE - (at & PAGE_MASK)).min(left);
            at = self.wrapped(at.wrapping_add(step));
            left -= step;
        }
        Ok(())
    }

    /// Lets the TLB know the page of `addr` if the running code may access it so: for engines that look there again. A fault is not
    /// told, and leaves nothing behind.
    pub fn touch(&mut self, addr: u64, access: Access) {
        if is_canonical(addr) {
            let _ = self.mmu.resolve(self.class, addr, access);
        }
    }

    /// Whether a store of `bytes` bytes would change code. Faults as the store would.
    pub fn stores_to_code(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
        bytes: u64,
    ) -> Result<bool, Fault> {
        self.check_access(class, seg, addr, bytes, Use::Write)?;
        let first = (PAGE_SIZE - (addr & PAGE_MASK)).min(bytes);
        let mut code = self.is_code(class, addr, first)?;
        if first < bytes {
            let next = self.wrapped(addr.wrapping_add(first));
            code |= self.is_code(class, next, bytes - first)?;
        }
        Ok(code)
    }

    /// Whether a store of `bytes` bytes would go to the bus, in part at least. Faults as the store would.
    pub fn stores_to_bus(&mut self, class: Class, addr: u64, bytes: u64) -> Result<bool, Fault> {
        let last = self.wrapped(addr.wrapping_add(bytes - 1));
        let bus = |t: Target| matches!(t, Target::Bus(_));
        Ok(bus(self.resolve(class, addr, Access::Write)?)
            || bus(self.resolve(class, last, Access::Write)?))
    }

    /// Whether a store inside one page would change code.
    fn is_code(&mut self, class: Class, addr: u64, bytes: u64) -> Result<bool, Fault> {
        Ok(match self.resolve(class, addr, Access::Write)? {
            Target::Ram(p) => self.mmu.ram().is_code_at(p, bytes as usize),
            Target::Bus(_) => false,
        })
    }

    /// Linear addresses are 32 bits wide outside 64-bit mode, but for system structures that compatibility mode reaches above.
    fn wrapped(&self, addr: u64) -> u64 {
        if self.mode.is_64() || self.mode.long() && addr > 1 << 32 {
            addr
        } else {
            addr & 0xffff_ffff
        }
    }

    /// Canonicality (Vol. 1, 3.3.7.1), alignment checks (Vol. 3A, 6.15, #AC) and data breakpoints (Vol. 3B, 17.2).
    pub(crate) fn check_access(
        &mut self,
        class: Class,
        seg: Seg,
        addr: u64,
        bytes: u64,
        access: Use,
    ) -> Result<(), Fault> {
        if self.mode.is_64() && !(is_canonical(addr) && is_canonical(addr.wrapping_add(bytes - 1)))
        {
            return Err(Fault::new(if seg == Seg::Ss {
                Exception::SS
            } else {
                Exception::GP
            }));
        }
        // A flat segment's limit is the end of the 32-bit address space (Vol. 3A, 5.3); other segments were checked by offset. System
        // structures may be above.
        let based = matches!(seg, Seg::Cs | Seg::Fs | Seg::Gs);
        let wraps = addr <= 0xffff_ffff && addr + (bytes - 1) > 0xffff_ffff;
        if wraps && !self.mode.is_64() && self.mode.flat() && !based {
            return Err(Fault::new(if seg == Seg::Ss {
                Exception::SS
            } else {
                Exception::GP
            }));
        }
        if self.mode.checked() {
            let aligned = class == Class::User
                && self.mmu.paging.cr0.contains(arch::Cr0::AM)
                && self.system_flag(Rflags::AC);
            // Ten bytes want to be aligned to eight (Vol. 3A, table 6-7); images of state are checked by their parts.
            let unit = match bytes {
                10 => 8,
                n if n.is_power_of_two() => n,
                _ => 1,
            };
            if aligned && addr & (unit - 1) != 0 {
                return Err(Fault::new(Exception::AC));
            }
            self.match_breakpoints(addr, bytes, access);
        }
        Ok(())
    }

    /// Notes in `pending_debug` which data breakpoints the access hits.
    fn match_breakpoints(&mut self, addr: u64, bytes: u64, access: Use) {
        for n in 0..4 {
            let (enabled, kind, len) = (
                self.dr[7] >> (2 * n) & 3 != 0,
                self.dr[7] >> (16 + 4 * n) & 3,
                self.dr[7] >> (18 + 4 * n) & 3,
            );
            let len = [1, 2, 8, 4][len as usize];
            let wanted = kind == 3 || kind == 1 && access == Use::Write;
            let start = self.dr[n] & !(len - 1);
            if enabled
                && wanted
                && addr < start.wrapping_add(len)
                && start < addr.wrapping_add(bytes)
            {
                self.pending_debug |= 1 << n;
                self.leave = true;
            }
        }
    }

    /// Walks; on a page fault CR2 takes the address.
    pub fn resolve(&mut self, class: Class, addr: u64, access: Access) -> Result<Target, Fault> {
        self.mmu
            .resolve(class, addr, access)
            .inspect_err(|_| self.cr2 = addr)
    }

    fn read_target(&mut self, target: Target, bytes: u64) -> u64 {
        match target {
            Target::Ram(_) => self.read_bytes(target, bytes),
            Target::Bus(p) => self.read_bus(p, bytes),
        }
    }

    fn write_target(&mut self, target: Target, bytes: u64, v: u64) {
        match target {
            Target::Ram(_) => self.write_bytes(target, bytes, v),
            Target::Bus(p) => self.write_bus(p, bytes, v),
        }
    }

    /// Up to eight bytes that do not cross a page.
    fn read_bytes(&mut self, target: Target, bytes: u64) -> u64 {
        match target {
            Target::Ram(p) => {
                let mut b = [0; 8];
                let n = bytes.min(8) as usize;
                // The walk said RAM, and RAM comes in whole frames.
                let _ = self.mmu.ram().read(p, &mut b[..n]);
                u64::from_le_bytes(b)
            }
            Target::Bus(p) => (0..bytes).fold(0, |v, i| {
                v | self.read_bus(GuestPhys(p.0 + i), 1) << (8 * i)
            }),
        }
    }

    fn write_bytes(&mut self, target: Target, bytes: u64, v: u64) {
        match target {
            Target::Ram(p) => {
                self.leave |= self.mmu.ram().is_code_at(p, bytes.min(8) as usize);
                let b = v.to_le_bytes();
                let _ = self.mmu.ram().write(p, &b[..bytes.min(8) as usize]);
            }
            Target::Bus(p) => {
                for i in 0..bytes {
                    self.write_bus(GuestPhys(p.0 + i), 1, v >> (8 * i) & 0xff);
                }
            }
        }
    }

    fn apic_offset(&self, p: GuestPhys) -> Option<u64> {
        let base = self.apic.mmio_base()?;
        (p.0 & !PAGE_MASK == base).then_some(p.0 & PAGE_MASK)
    }

    fn read_bus(&mut self, p: GuestPhys, bytes: u64) -> u64 {
        self.outside = true;
        match self.apic_offset(p) {
            Some(o) => u64::from(self.apic.mmio_read(o & !3)) >> (8 * (o & 3)),
            None => self.bus.mmio_read(p, size(bytes)),
        }
    }

    fn write_bus(&mut self, p: GuestPhys, bytes: u64, v: u64) {
        self.outside = true;
        match self.apic_offset(p) {
            Some(o) => self.apic.mmio_write(o, v as u32),
            None => {
                self.bus.mmio_write(p, size(bytes), v);
                self.follow_layout();
            }
        }
    }

    /// After a device was written to: where memory stands, and for which accesses, may have changed (shadow RAM, a flash chip, a base
    /// address register of video memory).
    #[inline]
    pub(crate) fn follow_layout(&mut self) {
        let now = self.mmu.ram().layout();
        if now != self.layout {
            self.layout = now;
            self.mmu.tlb.flush();
            self.leave = true;
        }
    }

    /// Segment limit and type checks (Vol. 3A, 5.3, 5.5).
    pub(crate) fn check_segment_use(
        &self,
        seg: Seg,
        offset: u64,
        bytes: u64,
        access: Use,
    ) -> Result<(), Fault> {
        let s = self.segment(seg);
        let fault = Fault::new(if seg == Seg::Ss {
            Exception::SS
        } else {
            Exception::GP
        });
        let kind = match access {
            Use::Read => s.readable(),
            // Real and virtual-8086 mode write through any segment (Vol. 3A, 20.1).
            Use::Write => s.writable() || !self.mode.protected(),
        };
        if !s.present() && self.mode.protected() || !kind {
            // A null or wrongly typed segment is #GP(0) for all but SS.
            return Err(fault);
        }
        let last = offset.wrapping_add(bytes - 1);
        let ok = if s.expand_down() {
            let top = if s.default_big() { 0xffff_ffff } else { 0xffff };
            offset > s.limit.into() && last <= top
        } else {
            last <= s.limit.into() && last >= offset
        };
        if ok { Ok(()) } else { Err(fault) }
    }
}

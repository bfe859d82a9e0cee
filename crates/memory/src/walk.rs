//! The page walk: 32-bit, PAE and 4-level paging (Vol. 3A, chapter 4).

use crate::{Access, Class, Ram};
use arch::{Cr0, Cr4, Efer, Fault, GuestPhys, PAGE_MASK, exception::Exception, exception::pf};

/// The registers that decide how linear addresses translate.
#[derive(Clone, Debug, PartialEq)]
pub struct Paging {
    pub cr0: Cr0,
    pub cr3: u64,
    pub cr4: Cr4,
    pub efer: Efer,
    /// The four page-directory-pointer-table entries that PAE paging loads with CR3 (4.4.1).
    pub pdptes: [u64; 4],
    /// MAXPHYADDR.
    pub physical_bits: u32,
    /// CPUID.Pdpe1gb: 1-GiB pages exist.
    pub giant_pages: bool,
}

/// The outcome of a successful walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The translated address itself, not its page.
    pub addr: GuestPhys,
    /// log2 of the page's size: 12, 21, 22 or 30; 32 without paging.
    pub shift: u32,
    pub writable: bool,
    pub user: bool,
    pub executable: bool,
    pub global: bool,
    /// D is set: a write needs no further walk.
    pub dirty: bool,
}

const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const NX: u64 = 1 << 63;

/// Why a walk ended early: bits for the error code.
struct Miss(u32);

impl Paging {
    fn pae_or_long(&self) -> bool {
        self.cr4.contains(Cr4::PAE)
    }

    fn reserved_high(&self) -> u64 {
        let nx = if self.efer.contains(Efer::NXE) { 0 } else { NX };
        // Bits 52-62 are ignored in 4-level and reserved in PAE paging (tables 4-8 to 4-11, 4-14 to 4-19).
        let ignored = if self.efer.contains(Efer::LMA) {
            0x7ff0_0000_0000_0000
        } else {
            0
        };
        (!((1u64 << self.physical_bits) - 1) & !NX & !ignored) | nx
    }

    fn address_mask(&self) -> u64 {
        ((1 << self.physical_bits) - 1) & !PAGE_MASK
    }

    /// Loads the PDPTEs of PAE paging; `false` if one has a reserved bit set, which is #GP(0) (4.4.1).
    #[must_use]
    pub fn load_pdptes(&mut self, ram: &Ram) -> bool {
        let base = self.cr3 & 0xffff_ffe0;
        let mut new = [0; 4];
        for (i, e) in new.iter_mut().enumerate() {
            *e = ram
                .load::<u64>(GuestPhys(base + 8 * i as u64))
                .unwrap_or(u64::MAX);
            let reserved = !((1u64 << self.physical_bits) - 1) | 0x1e6;
            if *e & P != 0 && *e & reserved != 0 {
                return false;
            }
        }
        self.pdptes = new;
        true
    }

    /// Translates `linear` for an access of `class`; sets accessed and dirty flags. On failure the page fault with its error
    /// code; CR2 is the caller's to set.
    pub fn translate(
        &self,
        ram: &Ram,
        linear: u64,
        access: Access,
        class: Class,
    ) -> Result<Translation, Fault> {
        if !self.cr0.contains(Cr0::PG) {
            return Ok(Translation {
                addr: GuestPhys(linear & 0xffff_ffff),
                shift: 32,
                writable: true,
                user: true,
                executable: true,
                global: false,
                dirty: true,
            });
        }
        let t = self
            .walk(ram, linear, access, class)
            .map_err(|m| self.fault(m.0, access, class))?;
        Ok(t)
    }

    fn fault(&self, bits: u32, access: Access, class: Class) -> Fault {
        let mut code = bits;
        if access == Access::Write {
            code |= pf::WRITE;
        }
        if class == Class::User {
            code |= pf::USER;
        }
        let nx = self.pae_or_long() && self.efer.contains(Efer::NXE);
        if access == Access::Fetch && (nx || self.cr4.contains(Cr4::SMEP)) {
            code |= pf::FETCH;
        }
        Fault::with_code(Exception::PF, code)
    }

    fn walk(
        &self,
        ram: &Ram,
        linear: u64,
        access: Access,
        class: Class,
    ) -> Result<Translation, Miss> {
        // An accessed or dirty flag that loses a race against another vCPU restarts the walk; the guest's own processors
        // cannot keep that up for ever, and a bound keeps a hostile one from trying.
        for _ in 0..64 {
            let tried = if self.pae_or_long() {
                self.walk64(ram, linear, access, class)
            } else {
                self.walk32(ram, linear, access, class)
            };
            if let Some(t) = tried? {
                return Ok(t);
            }
        }
        Err(Miss(0))
    }

    /// PAE and 4-level paging. `None`: an entry changed underneath, walk again.
    fn walk64(
        &self,
        ram: &Ram,
        linear: u64,
        access: Access,
        class: Class,
    ) -> Result<Option<Translation>, Miss> {
        let long = self.efer.contains(Efer::LMA);
        let reserved = self.reserved_high();
        let (mut rights, mut table, mut level) = if long {
            (RW | US, self.cr3 & self.address_mask(), 4)
        } else {
            let e = self.pdptes[(linear >> 30 & 3) as usize];
            if e & P == 0 {
                return Err(Miss(0));
            }
            (RW | US, e & self.address_mask(), 2)
        };
        let mut no_execute = 0;
        loop {
            let shift = 12 + 9 * (level - 1);
            let at = GuestPhys(table + (linear >> shift & 0x1ff) * 8);
            let e: u64 = ram.load(at).map_err(|_| Miss(0))?;
            if e & P == 0 {
                return Err(Miss(0));
            }
            let large = e & PS != 0 && level > 1;
            let bad_size = large && (level == 4 || level == 3 && !self.giant_pages);
            let misaligned = if large && level < 4 {
                ((1u64 << shift) - 1) & !0x1fff
            } else {
                0
            };
            if e & reserved != 0 || bad_size || e & misaligned != 0 {
                return Err(Miss(pf::PRESENT | pf::RESERVED));
            }
            rights &= e;
            no_execute |= e & NX;
            if level > 1 && !large {
                if e & A == 0 && !ram.compare_exchange64(at, e, e | A) {
                    return Ok(None);
                }
                table = e & self.address_mask();
                level -= 1;
                continue;
            }
            let t = self.leaf(
                linear,
                e & self.address_mask() & !((1 << shift) - 1),
                shift,
                rights,
                no_execute,
                e,
            );
            self.check(&t, access, class)?;
            return Ok(
                set_flags(e, access, |new| ram.compare_exchange64(at, e, new))
                    .then_some(t.touched(access)),
            );
        }
    }

    /// 32-bit paging (4.3).
    fn walk32(
        &self,
        ram: &Ram,
        linear: u64,
        access: Access,
        class: Class,
    ) -> Result<Option<Translation>, Miss> {
        let at = GuestPhys((self.cr3 & 0xffff_f000) + (linear >> 22 & 0x3ff) * 4);
        let e: u32 = ram.load(at).map_err(|_| Miss(0))?;
        let wide = u64::from(e);
        if wide & P == 0 {
            return Err(Miss(0));
        }
        if wide & PS != 0 && self.cr4.contains(Cr4::PSE) {
            // PSE-36: bits 20:13 are address bits 39:32 (table 4-4).
            let base = wide & 0xffc0_0000 | (wide >> 13 & 0xff) << 32;
            if wide & 1 << 21 != 0 || base >> self.physical_bits != 0 {
                return Err(Miss(pf::PRESENT | pf::RESERVED));
            }
            let t = self.leaf(linear, base, 22, wide, 0, wide);
            self.check(&t, access, class)?;
            let set = |new: u64| ram.compare_exchange32(at, e, new as u32);
            return Ok(set_flags(wide, access, set).then_some(t.touched(access)));
        }
        let entry_at = GuestPhys((wide & 0xffff_f000) + (linear >> 12 & 0x3ff) * 4);
        let pte: u32 = ram.load(entry_at).map_err(|_| Miss(0))?;
        let leaf = u64::from(pte);
        if leaf & P == 0 {
            return Err(Miss(0));
        }
        if wide & A == 0 && !ram.compare_exchange32(at, e, e | A as u32) {
            return Ok(None);
        }
        let t = self.leaf(linear, leaf & 0xffff_f000, 12, wide & leaf, 0, leaf);
        self.check(&t, access, class)?;
        let set = |new: u64| ram.compare_exchange32(entry_at, pte, new as u32);
        Ok(set_flags(leaf, access, set).then_some(t.touched(access)))
    }

    fn leaf(
        &self,
        linear: u64,
        base: u64,
        shift: u32,
        rights: u64,
        no_execute: u64,
        entry: u64,
    ) -> Translation {
        Translation {
            addr: GuestPhys(base | linear & ((1 << shift) - 1)),
            shift,
            writable: rights & RW != 0,
            user: rights & US != 0,
            executable: no_execute == 0,
            global: entry & G != 0 && self.cr4.contains(Cr4::PGE),
            dirty: entry & D != 0,
        }
    }

    fn check(&self, t: &Translation, access: Access, class: Class) -> Result<(), Miss> {
        if self.permits(t, access, class) {
            Ok(())
        } else {
            Err(Miss(pf::PRESENT))
        }
    }

    /// Access rights (4.6.1).
    pub fn permits(&self, t: &Translation, access: Access, class: Class) -> bool {
        if !self.cr0.contains(Cr0::PG) {
            return true;
        }
        if class == Class::User {
            return t.user
                && match access {
                    Access::Read => true,
                    Access::Write => t.writable,
                    Access::Fetch => t.executable,
                };
        }
        match access {
            Access::Fetch => t.executable && !(t.user && self.cr4.contains(Cr4::SMEP)),
            _ if t.user && class == Class::Supervisor && self.cr4.contains(Cr4::SMAP) => false,
            Access::Read => true,
            Access::Write => t.writable || !self.cr0.contains(Cr0::WP),
        }
    }
}

impl Translation {
    fn touched(mut self, access: Access) -> Self {
        self.dirty |= access == Access::Write;
        self
    }
}

/// Sets A, and D for writes, in a leaf entry; `false` if it changed meanwhile (4.8).
fn set_flags(entry: u64, access: Access, exchange: impl Fn(u64) -> bool) -> bool {
    let new = entry | A | if access == Access::Write { D } else { 0 };
    new == entry || exchange(new)
}

//! The child's side: map the world, then for each slot load the state, jump, and let the trap record what came out.
//!
//! # Unsafe
//! Between `fork` and its end the child runs this file alone. Invariants: it allocates nothing and touches no thread-local storage (FS
//! is the guest's); every address it writes is in a mapping that [`map_world`] made, in the shared slots, or in its own stack; the
//! instruction under test can clobber any register, so nothing is kept in registers across it: [`enter`] saves what the ABI wants kept
//! and the stack pointer in the control page, and [`trampoline`] gets them back from there.
#![expect(
    unsafe_code,
    reason = "runs arbitrary instructions and reads the machine state out of signal frames"
)]

use super::host::{Header, SLOTS, Slot};
use crate::case::{self, Access, CHUNK, LDT, REGIONS, SegKind, pattern};
use std::arch::{asm, naked_asm};
use std::ptr;

/// Address of the child's control page; below 2 GiB, so that absolute 32-bit addressing reaches it.
///
/// A stray address of a case must not hit what is the child's own: one page here, the rest where no 32-bit address leads.
const CTRL: usize = 0x5ab3_7000;
const RO_ALIAS: usize = 0x2e5d_71c6_b000;
const ALT_STACK: usize = 0x3d94_a3e7_8000;
const ALT_STACK_LEN: usize = 0x4_0000;
/// All regions one after the other.
const WORLD: usize = 0x7000;

/// What the child must know; made before the fork.
pub(super) struct World {
    /// What memory holds before each case.
    pristine: Vec<u8>,
    /// `pristine` with the patches of the case at hand.
    before: Vec<u8>,
}

impl World {
    pub(super) fn new() -> Self {
        let pristine: Vec<u8> = REGIONS
            .iter()
            .flat_map(|r| (r.base..r.base + r.len as u64).map(pattern))
            .collect();
        assert_eq!(pristine.len(), WORLD);
        Self {
            before: pristine.clone(),
            pristine,
        }
    }
}

/// Where the child writes `addr`: the read-only page through its alias.
fn writable(addr: u64) -> *mut u8 {
    if addr >> 12 == case::READ_ONLY >> 12 {
        (RO_ALIAS as u64 + (addr & 0xfff)) as *mut u8
    } else {
        addr as *mut u8
    }
}

/// Offset of `addr` in [`World`].
fn offset(addr: u64) -> Option<usize> {
    let mut at = 0;
    for r in &REGIONS {
        if addr.wrapping_sub(r.base) < r.len as u64 {
            return Some(at + (addr - r.base) as usize);
        }
        at += r.len;
    }
    None
}

/// The child's whole life. Never returns.
///
/// # Safety
/// Only in a forked child; `header` and `slots` are its shared mapping, `wake` and `done` the pipe ends.
pub(super) unsafe fn main(
    world: &mut World,
    header: *mut Header,
    slots: *mut Slot,
    wake: i32,
    done: i32,
) -> ! {
    // SAFETY: the caller's contract; system calls on descriptors and addresses that are ours.
    unsafe {
        if let Err(what) = map_world(world) {
            (*header).setup = what;
            libc::_exit(3);
        }
        let mut flat = false; // whether FS and GS have the bases of 64-bit cases
        let mut byte = 0u8;
        loop {
            if raw(libc::SYS_read, wake as u64, &raw mut byte as u64, 1) != 1 {
                raw(libc::SYS_exit_group, 0, 0, 0);
            }
            let (first, end) = ((*header).first as usize, (*header).end as usize);
            for i in first..end.min(SLOTS) {
                ptr::write_volatile(&raw mut (*header).progress, i as u64);
                run_one(world, slots.add(i), &mut flat);
            }
            ptr::write_volatile(&raw mut (*header).progress, end as u64);
            raw(libc::SYS_write, done as u64, &raw const byte as u64, 1);
        }
    }
}

const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;

/// A system call without libc, which looks at errno and cancellation state through FS.
unsafe fn raw(number: i64, a: u64, b: u64, c: u64) -> i64 {
    let result;
    // SAFETY: the kernel keeps all registers but these; what the call does is the caller's business.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, out("rcx") _, out("r11") _);
    }
    result
}

/// Map the regions, install the LDT and the signal handlers. On failure, the number of the step.
unsafe fn map_world(world: &World) -> Result<(), u64> {
    // SAFETY: MAP_FIXED_NOREPLACE never displaces a mapping; the structures passed live on this stack.
    unsafe {
        let map = |at: usize, len: usize, prot: i32, fd: i32| {
            let share = if fd < 0 {
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
            } else {
                libc::MAP_SHARED
            };
            let flags = share | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE;
            libc::mmap(at as *mut _, len, prot, flags, fd, 0) as usize == at
        };
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let fd = libc::memfd_create(c"ferry-read-only".as_ptr(), 0);
        if fd < 0 || libc::ftruncate(fd, 0x1000) != 0 || !map(RO_ALIAS, 0x1000, rw, fd) {
            return Err(1);
        }
        if !map(CTRL, 0x1000, rw, -1) || !map(ALT_STACK, ALT_STACK_LEN, rw, -1) {
            return Err(2);
        }
        let mut at = 0;
        for r in &REGIONS {
            let (prot, fd) = match r.access {
                Access::Code => (rw | libc::PROT_EXEC, -1),
                Access::Data => (rw, -1),
                Access::ReadOnly => (libc::PROT_READ, fd),
            };
            if !map(r.base as usize, r.len, prot, fd) {
                return Err(3);
            }
            ptr::copy_nonoverlapping(world.pristine.as_ptr().add(at), writable(r.base), r.len);
            at += r.len;
        }
        // Fault the read-only page in, so that a write there faults with P = 1.
        ptr::read_volatile(case::READ_ONLY as *const u8);
        for (i, e) in LDT.iter().enumerate() {
            let Some(e) = e else { continue };
            // struct user_desc of <asm/ldt.h>; contents: 0 data, 1 expand-down, 2 code.
            let (contents, read_only) = match e.kind {
                SegKind::Data => (0, 0),
                SegKind::DataReadOnly => (0, 1),
                SegKind::ExpandDown => (1, 0),
                SegKind::Code => (2, 0),
                SegKind::CodeOnly => (2, 1),
            };
            let flags = u32::from(e.big)
                | contents << 1
                | read_only << 3
                | u32::from(e.pages) << 4
                | u32::from(!e.present) << 5
                | 1 << 6;
            let desc = [i as u32, e.base, e.limit, flags];
            if libc::syscall(libc::SYS_modify_ldt, 0x11, &desc, size_of_val(&desc)) != 0 {
                return Err(4);
            }
        }
        let stack = libc::stack_t {
            ss_sp: ALT_STACK as *mut _,
            ss_flags: 0,
            ss_size: ALT_STACK_LEN,
        };
        if libc::sigaltstack(&stack, ptr::null_mut()) != 0 {
            return Err(5);
        }
        for signal in [
            libc::SIGSEGV,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGBUS,
            libc::SIGTRAP,
        ] {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = trampoline as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            if libc::sigaction(signal, &action, ptr::null_mut()) != 0 {
                return Err(6);
            }
        }
        Ok(())
    }
}

/// Run one slot and restore the world.
unsafe fn run_one(world: &mut World, slot: *mut Slot, flat: &mut bool) {
    // SAFETY: the slot is in the shared mapping; patches and code are bounded by the regions, as `offset` checks.
    unsafe {
        let s = &mut *slot;
        let patches = &s.patches[..(s.patch_count as usize).min(s.patches.len())];
        for p in patches {
            lay(
                world,
                p.addr,
                &p.bytes[..(p.len as usize).min(case::PATCH_MAX)],
            );
        }
        lay(world, s.code_addr, &s.code[..(s.code_len as usize).min(15)]);
        if s.bits64 != 0 && !*flat {
            let (fs, gs) = (case::FS_BASE, case::GS_BASE);
            raw(libc::SYS_arch_prctl, ARCH_SET_FS, fs, 0);
            raw(libc::SYS_arch_prctl, ARCH_SET_GS, gs, 0);
            *flat = true;
        }
        ptr::write_volatile((CTRL + 8) as *mut *mut Slot, slot);
        enter(slot);
        if s.bits64 == 0 || s.out.seg[4] != 0 || s.out.seg[5] != 0 || s.touches_segments != 0 {
            *flat = false;
        }
        collect(world, s);
        let patches = &s.patches[..(s.patch_count as usize).min(s.patches.len())];
        for p in patches {
            unlay(world, p.addr, (p.len as usize).min(case::PATCH_MAX));
        }
        unlay(world, s.code_addr, s.code_len as usize);
    }
}

unsafe fn lay(world: &mut World, addr: u64, bytes: &[u8]) {
    for (i, &byte) in bytes.iter().enumerate() {
        let addr = addr + i as u64;
        if let Some(at) = offset(addr) {
            world.before[at] = byte;
            // SAFETY: `offset` says that the address is mapped.
            unsafe { writable(addr).write_volatile(byte) };
        }
    }
}

unsafe fn unlay(world: &mut World, addr: u64, len: usize) {
    for addr in addr..addr + len as u64 {
        if let Some(at) = offset(addr) {
            world.before[at] = world.pristine[at];
            // SAFETY: `offset` says that the address is mapped.
            unsafe { writable(addr).write_volatile(world.pristine[at]) };
        }
    }
}

/// Report the chunks that changed and put them back.
unsafe fn collect(world: &World, s: &mut Slot) {
    let mut at = 0;
    s.out.chunk_count = 0;
    for r in &REGIONS {
        if r.access != Access::ReadOnly {
            for chunk in (0..r.len).step_by(CHUNK) {
                let now = (r.base as usize + chunk) as *mut [u64; CHUNK / 8];
                let was = world.before[at + chunk..]
                    .as_ptr()
                    .cast::<[u64; CHUNK / 8]>();
                // SAFETY: both are whole chunks of mapped, aligned memory; `before` has a byte for each byte of the regions.
                unsafe {
                    let (old, new) = (was.read_unaligned(), now.read());
                    if old == new {
                        continue;
                    }
                    let n = s.out.chunk_count as usize;
                    if let Some(out) = s.out.chunks.get_mut(n) {
                        out.addr = r.base + chunk as u64;
                        out.bytes = new;
                        s.out.chunk_count += 1;
                    }
                    now.write(old);
                }
            }
        }
        at += r.len;
    }
}

/// Load the slot's state and jump to its code. Comes back through [`trampoline`].
#[unsafe(naked)]
unsafe extern "C" fn enter(slot: *mut Slot) {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov qword ptr [{ctrl}], rsp",
        "fxrstor64 [rdi + {fx}]",
        "mov es, word ptr [rdi + {seg}]",
        "mov ds, word ptr [rdi + {seg} + 6]",
        "cmp dword ptr [rdi + {bits64}], 0",
        "jne 2f",
        "mov ss, word ptr [rdi + {seg} + 4]",
        "mov fs, word ptr [rdi + {seg} + 8]",
        "mov gs, word ptr [rdi + {seg} + 10]",
        "2:",
        "mov eax, dword ptr [rdi + {eip}]",
        "mov dword ptr [{ctrl} + 16], eax",
        "movzx eax, word ptr [rdi + {seg} + 2]",
        "mov dword ptr [{ctrl} + 20], eax",
        "mov rsp, {ctrl} + 0x800",
        "push qword ptr [rdi + {rflags}]",
        "popfq",
        "mov rax, [rdi + {gpr}]",
        "mov rcx, [rdi + {gpr} + 8]",
        "mov rdx, [rdi + {gpr} + 16]",
        "mov rbx, [rdi + {gpr} + 24]",
        "mov rsp, [rdi + {gpr} + 32]",
        "mov rbp, [rdi + {gpr} + 40]",
        "mov rsi, [rdi + {gpr} + 48]",
        "mov r8, [rdi + {gpr} + 64]",
        "mov r9, [rdi + {gpr} + 72]",
        "mov r10, [rdi + {gpr} + 80]",
        "mov r11, [rdi + {gpr} + 88]",
        "mov r12, [rdi + {gpr} + 96]",
        "mov r13, [rdi + {gpr} + 104]",
        "mov r14, [rdi + {gpr} + 112]",
        "mov r15, [rdi + {gpr} + 120]",
        "mov rdi, [rdi + {gpr} + 56]",
        "jmp fword ptr [{ctrl} + 16]",
        ctrl = const CTRL,
        fx = const std::mem::offset_of!(Slot, fx),
        seg = const std::mem::offset_of!(Slot, seg),
        bits64 = const std::mem::offset_of!(Slot, bits64),
        eip = const std::mem::offset_of!(Slot, eip),
        rflags = const std::mem::offset_of!(Slot, rflags),
        gpr = const std::mem::offset_of!(Slot, gpr),
    )
}

/// The signal handler: clear AC first (the frame is the kernel's, our own stack accesses need not be aligned), record, return from [`enter`].
///
/// It leaves by a jump, not by sigreturn: SA_NODEFER keeps signals open, and the kernel tells by RSP that the alternate stack is free.
#[unsafe(naked)]
unsafe extern "C" fn trampoline(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::ucontext_t,
) {
    naked_asm!(
        "push 2", "popfq",
        "sub rsp, 8",
        "call {record}",
        "mov rsp, qword ptr [{ctrl}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        record = sym record,
        ctrl = const CTRL,
    )
}

/// Copy the machine state out of the signal frame.
unsafe extern "C" fn record(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel's frame and the slot that `run_one` named.
    unsafe {
        let slot = &mut *ptr::read_volatile((CTRL + 8) as *const *mut Slot);
        let mc = &(*context).uc_mcontext;
        let g = &mc.gregs;
        const ORDER: [libc::c_int; 16] = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        let out = &mut slot.out;
        for (to, from) in out.gpr.iter_mut().zip(ORDER) {
            *to = g[from as usize] as u64;
        }
        out.rip = g[libc::REG_RIP as usize] as u64;
        out.rflags = g[libc::REG_EFL as usize] as u64;
        out.trap = g[libc::REG_TRAPNO as usize] as u32;
        out.error = g[libc::REG_ERR as usize] as u32;
        out.cr2 = g[libc::REG_CR2 as usize] as u64;
        out.signal = signal as u32;
        let packed = g[libc::REG_CSGSFS as usize] as u64;
        let (es, ds, fs, gs): (u32, u32, u32, u32);
        asm!("mov {0:e}, es", "mov {1:e}, ds", "mov {2:e}, fs", "mov {3:e}, gs", out(reg) es, out(reg) ds, out(reg) fs, out(reg) gs);
        out.seg = [
            es as u16,
            packed as u16,
            (packed >> 48) as u16,
            ds as u16,
            fs as u16,
            gs as u16,
        ];
        ptr::copy_nonoverlapping(mc.fpregs.cast::<[u8; 512]>(), &raw mut out.fx, 1);
        // Bytes 464.. are the kernel's own.
        out.fx[416..].fill(0);
    }
}

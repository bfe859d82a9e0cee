//! The way into generated code on x86-64, and the stubs that it calls.
//!
//! MXCSR: generated code runs with the guest's, all exceptions masked; the sticky flags are or-ed into the guest's own when it is left and
//! before a helper, and the host's value is back while Rust runs (but for the slow loads and stores, which compute with integers).
//!
//! x87: the host's unit is loaded where generated code first needs it, its stack is empty whenever a stub is called, and its control word
//! is back when generated code is left. Between, Rust runs under the guest's, all exceptions masked: it has no x87 code of its own.
//!
//! Convention: RDI is the `Cpu`, R14 is the TLB's base, R15 counts retired instructions, RSP is aligned to 16 and stays where it is, all else is free. That is
//! Cranelift's tail convention with the `Cpu` as only argument, R14 and R15 pinned.
//!
//! # Unsafe
//! Owns the transfer between Rust and generated code. Invariants: the pointer handed to [`enter`] is the only way to the `Cpu` while
//! generated code runs, and each stub makes one exclusive reference of it that ends before the stub returns; pointers in cells are to
//! data that stands in the arena as long as the code; the `Cpu` names the translations that generated code was entered from, which nobody
//! else refers to until it is left.
#![expect(unsafe_code, reason = "calls generated code and is called by it")]

use crate::cache::Cache;
use arch::{Fault, GuestPhys, Mode, Seg, Size};
use baseline::block::FpCall;
use baseline::x87::X87Call;
use cpu::native::{JumpEntry, Stubs, exit, offset, site};
use cpu::{Cpu, Stop, helpers};
use decode::Insn;
use memory::Access;
use semantics::emit::Emit;
use semantics::table::{self, Class, Helper};
use semantics::vector::VecOp;
use std::arch::naked_asm;

/// What a cell of a helper call points to.
#[derive(Clone, Copy, Debug)]
pub struct HelperCall {
    pub helper: Helper,
    pub insn: Insn,
    /// The helper is the whole instruction, not a part of it.
    pub whole: bool,
}

impl HelperCall {
    /// The call of `helper` by `insn`.
    pub fn new(helper: Helper, insn: Insn) -> Self {
        let whole = table::row::<Cpu>(insn.code).is_some_and(|r| r.class == Class::Helper);
        Self {
            helper,
            insn,
            whole,
        }
    }
}

/// Runs generated code at `entry`, out of `cache`, until it leaves; the reason is in [`Native::value`](cpu::native::Native::value).
pub fn run(cpu: &mut Cpu, cache: &mut Cache, entry: u64) {
    cpu.native.cache = &raw mut *cache as u64;
    // SAFETY: `entry` is the start of a live translation, whose code keeps the convention; `cpu` is exclusive.
    unsafe { enter(cpu, entry) }
}

/// The stubs' addresses.
pub fn stubs() -> Stubs {
    Stubs {
        load: load as *const () as u64,
        store: store as *const () as u64,
        helper: helper as *const () as u64,
        quick: quick as *const () as u64,
        flags: flags as *const () as u64,
        vector: vector as *const () as u64,
        fp: fp as *const () as u64,
        reach: reach as *const () as u64,
        touch: touch as *const () as u64,
        status: status as *const () as u64,
        x87: load_x87 as *const () as u64,
        exit: leave as *const () as u64,
    }
}

const RETIRED: usize = offset::RETIRED;

#[unsafe(naked)]
unsafe extern "C" fn enter(cpu: *mut Cpu, entry: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "xor r15d, r15d",
        "mov byte ptr [rdi + {x87}], 0",
        "mov r14, [rdi + {tlb}]",
        "stmxcsr [rdi + {host}]",
        "mov eax, [rdi + {guest}]",
        "or eax, 0x1f80",
        "mov [rdi + {scratch}], eax",
        "ldmxcsr [rdi + {scratch}]",
        "jmp rsi",
        tlb = const offset::TLB,
        x87 = const offset::X87_UNIT,
        host = const offset::HOST_MXCSR,
        guest = const offset::MXCSR,
        scratch = const offset::SCRATCH_MXCSR,
    )
}

/// Jumped to.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov [rdi + {retired}], r15",
        "stmxcsr [rdi + {scratch}]",
        "mov eax, [rdi + {scratch}]",
        "and eax, 0x3f",
        "or [rdi + {guest}], eax",
        "ldmxcsr [rdi + {host}]",
        "cmp byte ptr [rdi + {x87}], 0",
        "jne 2f",
        "3:",
        "add rsp, 8",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        "2:",
        "fldcw [rdi + {fcw}]",
        "jmp 3b",
        x87 = const offset::X87_UNIT,
        fcw = const offset::HOST_FCW,
        retired = const RETIRED,
        host = const offset::HOST_MXCSR,
        guest = const offset::MXCSR,
        scratch = const offset::SCRATCH_MXCSR,
    )
}

/// Loads the host's x87 with the guest's control word, exception flags and condition codes, all registers empty. Keeps every general
/// register.
#[unsafe(naked)]
unsafe extern "C" fn load_x87() {
    naked_asm!(
        "test byte ptr [rdi + {unit}], 2",
        "jnz 2f",
        "fnstcw [rdi + {host}]",
        "2:",
        "push rax",
        "movzx eax, word ptr [rdi + {fcw}]",
        "mov [rdi + {environment}], eax",
        "movzx eax, word ptr [rdi + {fsw}]",
        "and eax, 0xc7ff",
        "mov [rdi + {environment} + 4], eax",
        "pop rax",
        "fldenv [rdi + {environment}]",
        "mov byte ptr [rdi + {unit}], 3",
        "ret",
        unit = const offset::X87_UNIT,
        host = const offset::HOST_FCW,
        fcw = const offset::FCW,
        fsw = const offset::FSW,
        environment = const offset::X87_ENVIRONMENT,
    )
}

/// A stub that keeps every general register, and the vector registers if the site says that they hold something; if the Rust function answers other than zero, generated code is left.
macro_rules! preserving {
    ($name:ident, $rust:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
                "push r8", "push r9", "push r10", "push r11",
                "test dword ptr [rdi + {site}], {vectors}",
                "jnz 3f",
                "call {f}",
                "test eax, eax",
                "jnz 2f",
                "4:",
                "pop r11", "pop r10", "pop r9", "pop r8",
                "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
                "ret",
                "2:",
                "mov rdi, [rsp + 32]",
                "add rsp, 80",
                "jmp {leave}",
                "3:",
                "sub rsp, 256",
                "movups [rsp], xmm0", "movups [rsp + 16], xmm1",
                "movups [rsp + 32], xmm2", "movups [rsp + 48], xmm3",
                "movups [rsp + 64], xmm4", "movups [rsp + 80], xmm5",
                "movups [rsp + 96], xmm6", "movups [rsp + 112], xmm7",
                "movups [rsp + 128], xmm8", "movups [rsp + 144], xmm9",
                "movups [rsp + 160], xmm10", "movups [rsp + 176], xmm11",
                "movups [rsp + 192], xmm12", "movups [rsp + 208], xmm13",
                "movups [rsp + 224], xmm14", "movups [rsp + 240], xmm15",
                "call {f}",
                "movups xmm0, [rsp]", "movups xmm1, [rsp + 16]",
                "movups xmm2, [rsp + 32]", "movups xmm3, [rsp + 48]",
                "movups xmm4, [rsp + 64]", "movups xmm5, [rsp + 80]",
                "movups xmm6, [rsp + 96]", "movups xmm7, [rsp + 112]",
                "movups xmm8, [rsp + 128]", "movups xmm9, [rsp + 144]",
                "movups xmm10, [rsp + 160]", "movups xmm11, [rsp + 176]",
                "movups xmm12, [rsp + 192]", "movups xmm13, [rsp + 208]",
                "movups xmm14, [rsp + 224]", "movups xmm15, [rsp + 240]",
                "add rsp, 256",
                "test eax, eax",
                "jz 4b",
                "jmp 2b",
                f = sym $rust,
                leave = sym leave,
                site = const offset::SITE,
                vectors = const site::VECTORS,
            )
        }
    };
}

/// A stub that regions call: it keeps every register. The stack is aligned to 16 where it is entered.
macro_rules! regional {
    ($name:ident, $rust:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
                "push r8", "push r9", "push r10", "push r11",
                "sub rsp, 264",
                "movups [rsp], xmm0", "movups [rsp + 16], xmm1",
                "movups [rsp + 32], xmm2", "movups [rsp + 48], xmm3",
                "movups [rsp + 64], xmm4", "movups [rsp + 80], xmm5",
                "movups [rsp + 96], xmm6", "movups [rsp + 112], xmm7",
                "movups [rsp + 128], xmm8", "movups [rsp + 144], xmm9",
                "movups [rsp + 160], xmm10", "movups [rsp + 176], xmm11",
                "movups [rsp + 192], xmm12", "movups [rsp + 208], xmm13",
                "movups [rsp + 224], xmm14", "movups [rsp + 240], xmm15",
                "call {f}",
                "movups xmm0, [rsp]", "movups xmm1, [rsp + 16]",
                "movups xmm2, [rsp + 32]", "movups xmm3, [rsp + 48]",
                "movups xmm4, [rsp + 64]", "movups xmm5, [rsp + 80]",
                "movups xmm6, [rsp + 96]", "movups xmm7, [rsp + 112]",
                "movups xmm8, [rsp + 128]", "movups xmm9, [rsp + 144]",
                "movups xmm10, [rsp + 160]", "movups xmm11, [rsp + 176]",
                "movups xmm12, [rsp + 192]", "movups xmm13, [rsp + 208]",
                "movups xmm14, [rsp + 224]", "movups xmm15, [rsp + 240]",
                "add rsp, 264",
                "pop r11", "pop r10", "pop r9", "pop r8",
                "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
                "ret",
                f = sym $rust,
            )
        }
    };
}

/// A stub that keeps only the `Cpu` pointer and the counter.
macro_rules! plain {
    ($name:ident, $rust:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push rdi",
                "stmxcsr [rdi + {scratch}]",
                "mov eax, [rdi + {scratch}]",
                "and eax, 0x3f",
                "or [rdi + {guest}], eax",
                "ldmxcsr [rdi + {host}]",
                "call {f}",
                "pop rdi",
                "mov ecx, [rdi + {guest}]",
                "or ecx, 0x1f80",
                "mov [rdi + {scratch}], ecx",
                "ldmxcsr [rdi + {scratch}]",
                "test eax, eax",
                "jnz 2f",
                "ret",
                "2:",
                "add rsp, 8",
                "cmp eax, {resume}",
                "jne {leave}",
                "add r15, [rdi + {value} + 8]",
                "mov r14, [rdi + {tlb}]",
                "jmp [rdi + {value}]",
                f = sym $rust,
                leave = sym leave,
                resume = const RESUME,
                value = const offset::VALUE,
                tlb = const offset::TLB,
                host = const offset::HOST_MXCSR,
                guest = const offset::MXCSR,
                scratch = const offset::SCRATCH_MXCSR,
            )
        }
    };
}

/// The same for a helper that has nothing to do with floating point: it runs under the guest's, since Rust computes with integers there.
#[unsafe(naked)]
unsafe extern "C" fn quick() {
    naked_asm!(
        "push rdi",
        "call {f}",
        "pop rdi",
        "test eax, eax",
        "jnz 2f",
        "ret",
        "2:",
        "add rsp, 8",
        "cmp eax, {resume}",
        "jne {leave}",
        "add r15, [rdi + {value} + 8]",
        "mov r14, [rdi + {tlb}]",
        "jmp [rdi + {value}]",
        f = sym call_quick,
        leave = sym leave,
        resume = const RESUME,
        value = const offset::VALUE,
        tlb = const offset::TLB,
    )
}

/// What a stub's Rust function answers if generated code goes on at `value[0]`, with `value[1]` more instructions retired.
const RESUME: u32 = 2;

preserving!(load, slow_load);
preserving!(store, slow_store);
preserving!(flags, work_out_flags);
preserving!(reach, fill_tlb);
regional!(touch, fill_tlb);
regional!(status, work_out_flags);
plain!(helper, call_helper);
plain!(vector, vector_operation);
plain!(fp, fp_operation);

/// Leaves generated code with `reason`.
fn stop(cpu: &mut Cpu, reason: u64, extra: u64) -> u32 {
    cpu.native.value = [reason, extra];
    1
}

fn fault(cpu: &mut Cpu, f: Fault) -> u32 {
    stop(cpu, exit::FAULT, exit::pack(f))
}

extern "C" fn slow_load(cpu: &mut Cpu) -> u32 {
    let extra = site::extra(cpu.native.site);
    let (addr, seg, class) = (cpu.native.address, site::segment(extra), cpu.class);
    let v = match extra & 3 {
        0 => cpu.load_linear::<u8>(class, seg, addr).map(u64::from),
        1 => cpu.load_linear::<u16>(class, seg, addr).map(u64::from),
        2 => cpu.load_linear::<u32>(class, seg, addr).map(u64::from),
        _ => cpu.load_linear::<u64>(class, seg, addr),
    };
    match v {
        Ok(v) => {
            cpu.native.value[0] = v;
            0
        }
        Err(f) => fault(cpu, f),
    }
}

extern "C" fn slow_store(cpu: &mut Cpu) -> u32 {
    let extra = site::extra(cpu.native.site);
    let (addr, v, seg, class) = (
        cpu.native.address,
        cpu.native.value[0],
        site::segment(extra),
        cpu.class,
    );
    if let Some(p) = cpu.guarded(class, addr, 1 << (extra & 3)) {
        return guarded_store(cpu, p, &v.to_le_bytes()[..1 << (extra & 3)]);
    }
    // A store to code ends the block that it stands in: the evaluator does it, between blocks.
    match cpu.stores_to_code(class, seg, addr, 1 << (extra & 3)) {
        Err(f) => return fault(cpu, f),
        Ok(true) => return stop(cpu, exit::EVALUATE, 0),
        Ok(false) => {}
    }
    if cpu.native.site & site::WINDOWS != 0 {
        match cpu.stores_to_bus(class, addr, 1 << (extra & 3)) {
            Err(f) => return fault(cpu, f),
            Ok(true) => return stop(cpu, exit::EVALUATE, 0),
            Ok(false) => {}
        }
    }
    let done = match extra & 3 {
        0 => cpu.store_linear(class, seg, addr, v as u8),
        1 => cpu.store_linear(class, seg, addr, v as u16),
        2 => cpu.store_linear(class, seg, addr, v as u32),
        _ => cpu.store_linear(class, seg, addr, v),
    };
    match done {
        Ok(()) => 0,
        Err(f) => fault(cpu, f),
    }
}

/// A store to a page that holds code, or did not long ago.
fn guarded_store(cpu: &mut Cpu, at: GuestPhys, bytes: &[u8]) -> u32 {
    cpu.counters.guarded_stores += 1;
    let ram = cpu.mmu.ram().clone();
    if !ram.is_code_at(at, bytes.len()) {
        let _ = ram.write(at, bytes);
        return 0;
    }
    // Code of the page that is being executed: the evaluator does the store, between blocks.
    if executing(cpu) != Some(at.frame()) {
        let _ = ram.write(at, bytes);
        // SAFETY: `run` set it from the exclusive reference that it holds meanwhile.
        let cache = unsafe { &mut *(cpu.native.cache as *mut Cache) };
        cache.drop_stale(&ram, &mut cpu.native.jumps);
        return 0;
    }
    stop(cpu, exit::EVALUATE, 0)
}

/// The frame that generated code is executing, as far as the TLB knows.
fn executing(cpu: &Cpu) -> Option<u64> {
    let base = if cpu.mode.is_64() {
        0
    } else {
        cpu.segment(Seg::Cs).base
    };
    let linear = cpu.native.page_base.wrapping_add(base);
    let linear = if cpu.mode.is_64() {
        linear
    } else {
        linear & 0xffff_ffff
    };
    let host = cpu
        .mmu
        .tlb
        .host(cpu.class as usize, linear, 1, Access::Fetch)?;
    Some(cpu.mmu.ram().guest_of(host as u64)?.frame())
}

extern "C" fn fill_tlb(cpu: &mut Cpu) -> u32 {
    let access = if cpu.native.site & 1 != 0 {
        Access::Write
    } else {
        Access::Read
    };
    cpu.touch(cpu.native.address, access);
    0
}

extern "C" fn work_out_flags(cpu: &mut Cpu) -> u32 {
    let status = semantics::flags::status(cpu);
    cpu.flags = semantics::emit::Flags {
        src: status,
        ..cpu::state::NO_FLAGS
    };
    0
}

extern "C" fn call_helper(cpu: &mut Cpu) -> u32 {
    forget_x87(cpu);
    serve::<true>(cpu)
}

/// The same for a helper that touches neither MXCSR nor the x87.
extern "C" fn call_quick(cpu: &mut Cpu) -> u32 {
    serve::<false>(cpu)
}

#[inline(always)]
fn serve<const FP: bool>(cpu: &mut Cpu) -> u32 {
    // SAFETY: the cell of a live translation points to a live call.
    let call = unsafe { &*(cpu.native.address as *const HelperCall) };
    let before = (cpu.mode, cpu.mmu.tlb.epoch());
    match helpers::call(cpu, call.helper, &call.insn) {
        Ok(()) => {
            cpu.native.attention_mask = cpu.attention_mask();
            if FP {
                cpu.refresh_fp_mode();
            }
            let changed = (cpu.mode, cpu.mmu.tlb.epoch()) != before
                || cpu.leave
                || !cpu.mmu.tlb.flushed_pages.is_empty();
            if changed && call.whole {
                advance(cpu, before.0, call.insn.len);
                return go_on(cpu, before.1);
            }
            0
        }
        Err(Stop::Branch) => go_on(cpu, before.1),
        Err(Stop::End) => {
            if call.helper == Helper::Sti && shadow_is_empty(cpu) {
                return 0;
            }
            advance(cpu, before.0, call.insn.len);
            go_on(cpu, before.1)
        }
        Err(Stop::Fault(f)) => stop(cpu, exit::HELPER_FAULT, exit::pack(f)),
    }
}

/// Whether the instruction behind STI may simply run: it follows in the same block, so that nothing is recognised before it, and nothing
/// waits. The shadow then ends here.
fn shadow_is_empty(cpu: &mut Cpu) -> bool {
    cpu.native.attention_mask = cpu.attention_mask();
    let more = site::extra(cpu.native.site) & site::MORE != 0;
    let quiet = cpu.attention.bits() & cpu.native.attention_mask == 0;
    if cpu.native.resume && more && quiet {
        cpu.shadow = false;
        return true;
    }
    false
}

/// After a helper that leads elsewhere or changes the mode: goes on with what the jump cache has for RIP, if nothing asks for the
/// dispatcher; else leaves.
fn go_on(cpu: &mut Cpu, epoch: u64) -> u32 {
    let asks = !cpu.native.resume
        || cpu.leave
        || cpu.halted
        || cpu.pending_debug != 0
        || cpu.mmu.tlb.epoch() != epoch
        || !cpu.mmu.tlb.flushed_pages.is_empty()
        || cpu.mmu.ram().has_stale()
        || cpu.needs_care()
        || !translatable(cpu)
        || cpu.attention.bits() & cpu.attention_mask() != 0;
    if asks {
        return stop(cpu, exit::HELPER, 0);
    }
    match enter_mode(cpu) {
        Some(entry) => {
            let done = site::done(cpu.native.site) + 1;
            cpu.native.value = [entry, done];
            cpu.native.resumed += 1;
            RESUME
        }
        None => stop(cpu, exit::HELPER, 0),
    }
}

/// Makes what generated code keeps beside the processor follow its mode and mapping, and looks RIP up in the jump cache.
pub(crate) fn enter_mode(cpu: &mut Cpu) -> Option<u64> {
    cpu.refresh_fp_mode();
    cpu.native.attention_mask = cpu.attention_mask();
    cpu.native.tlb = cpu.mmu.tlb.arrays();
    let tlb = &cpu.mmu.tlb;
    let epoch = if cpu.cpl == 3 {
        tlb.epoch()
    } else {
        tlb.global_epoch()
    };
    cpu.native.key = epoch << 32 | u64::from(cpu.mode.0);
    let j = cpu.native.jumps[JumpEntry::place(cpu.rip)];
    if (j.rip, j.key) != (cpu.rip, cpu.native.key) {
        return None;
    }
    cpu.native.page_base = j.base;
    Some(j.entry)
}

/// Whether the one-pass writer serves this mode: 64-bit code, and 32-bit code without a limit to check.
pub(crate) fn translatable(cpu: &Cpu) -> bool {
    match cpu.mode.code() {
        Size::B64 => true,
        Size::B32 => cpu.segment(Seg::Cs).limit == u32::MAX,
        Size::B16 => false,
    }
}

/// The host's x87 no longer has the guest's status.
fn forget_x87(cpu: &mut Cpu) {
    cpu.native.x87_unit &= 2;
}

fn x87_operation(cpu: &mut Cpu, call: X87Call, len: u8) -> u32 {
    forget_x87(cpu);
    let (before, [v, high]) = (cpu.mode, cpu.native.value);
    let done = match call {
        X87Call::Step(step) => cpu.x87(step, v, high as u16),
        X87Call::Compare { quiet, n, pops } => cpu.x87_compare(quiet, n, pops).map(|flags| {
            cpu.native.value[0] = flags;
        }),
        X87Call::Store(format, truncating) => cpu.x87_store(format, truncating).map(|(v, high)| {
            cpu.native.value = [v, high.into()];
        }),
        X87Call::SetControl => cpu.x87_set_control(v as u16),
    };
    cpu.refresh_fp_mode();
    match done {
        Ok(()) if cpu.mode == before => 0,
        Err(Stop::Fault(f)) => fault(cpu, f),
        // The control word is another mode's, or an unmasked exception ends the instruction.
        Ok(()) | Err(_) => {
            advance(cpu, before, len);
            stop(cpu, exit::HELPER, 0)
        }
    }
}

fn advance(cpu: &mut Cpu, mode: Mode, len: u8) {
    cpu.rip = cpu.rip.wrapping_add(len.into());
    if !mode.is_64() {
        cpu.rip &= 0xffff_ffff;
    }
}

/// Reads or writes 16 bytes of the `Cpu` by offset.
fn at(cpu: &mut Cpu, offset: u64) -> *mut u128 {
    (cpu as *mut Cpu)
        .cast::<u8>()
        .wrapping_add(offset as usize)
        .cast()
}

fn operands(cpu: &mut Cpu) -> (u128, u128) {
    let [a, b, _] = cpu.native.operands;
    // SAFETY: the writer names vectors inside the `Cpu`.
    unsafe { (at(cpu, a).read_unaligned(), at(cpu, b).read_unaligned()) }
}

fn answer(cpu: &mut Cpu, v: u128) {
    let d = cpu.native.operands[2];
    // SAFETY: as for the operands.
    unsafe { at(cpu, d).write_unaligned(v) };
}

extern "C" fn vector_operation(cpu: &mut Cpu) -> u32 {
    // SAFETY: the cell of a live translation points to a live operation.
    let op = unsafe { *(cpu.native.address as *const VecOp) };
    let (a, b) = operands(cpu);
    answer(cpu, op.eval(a, b));
    0
}

extern "C" fn fp_operation(cpu: &mut Cpu) -> u32 {
    // SAFETY: as for vectors.
    let call = unsafe { *(cpu.native.address as *const FpCall) };
    if let FpCall::X87(call, len) = call {
        return x87_operation(cpu, call, len);
    }
    let (a, b) = operands(cpu);
    let done = match call {
        FpCall::Compute(op, format, lanes) => {
            cpu.fp(op, format, lanes, a, b).map(|v| answer(cpu, v))
        }
        FpCall::Compare(relation, format) => cpu
            .fp_compare(relation, format, a, b)
            .map(|image| cpu.native.value[0] = image),
        FpCall::Strings(imm) => {
            let [a_len, b_len] = cpu.native.value.map(|v| v as u32);
            cpu.native.value[0] = cpu.string_compare(imm, a, b, a_len, b_len).into();
            Ok(())
        }
        FpCall::X87(..) => Ok(()),
    };
    match done {
        Ok(()) => 0,
        Err(Stop::Fault(f)) => fault(cpu, f),
        Err(_) => stop(cpu, exit::EVALUATE, 0),
    }
}

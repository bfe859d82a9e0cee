//! Atomic compare and exchange of 16 bytes, which no stable type of the standard library has.
//!
//! # Unsafe
//! Owns the host instructions for it. Invariant: callers pass a pointer to 16 valid bytes, aligned to 16. Hosts without such an
//! instruction serialise on a lock, which makes these operations atomic among themselves only.
#![expect(unsafe_code, reason = "host instructions on guest memory")]

/// Replaces the 16 bytes at `at` by `new` if they are `old`; answers what they were.
///
/// # Safety
/// `at` points to 16 bytes of live memory and is aligned to 16.
pub(crate) unsafe fn compare_exchange(at: *mut u8, old: u128, new: u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("cmpxchg16b") {
        let (mut low, mut high) = (old as u64, (old >> 64) as u64);
        // SAFETY: the processor has the instruction; the pointer is the caller's promise. RBX is the compiler's own and is given back.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {new_low}",
                "lock cmpxchg16b [{at}]",
                "mov rbx, {new_low}",
                at = in(reg) at,
                new_low = inout(reg) new as u64 => _,
                in("rcx") (new >> 64) as u64,
                inout("rax") low,
                inout("rdx") high,
                options(nostack),
            );
        }
        return u128::from(high) << 64 | u128::from(low);
    }
    #[cfg(target_arch = "aarch64")]
    {
        let (low, high): (u64, u64);
        // SAFETY: an exclusive load and store of the caller's 16 bytes; on a mismatch the old value is stored back, which makes the pair
        // single-copy atomic (Arm ARM, B2.2.1).
        unsafe {
            std::arch::asm!(
                "2:",
                "ldaxp {low}, {high}, [{at}]",
                "cmp {low}, {old_low}",
                "ccmp {high}, {old_high}, #0, eq",
                "csel {store_low}, {new_low}, {low}, eq",
                "csel {store_high}, {new_high}, {high}, eq",
                "stlxp {fail:w}, {store_low}, {store_high}, [{at}]",
                "cbnz {fail:w}, 2b",
                at = in(reg) at,
                old_low = in(reg) old as u64,
                old_high = in(reg) (old >> 64) as u64,
                new_low = in(reg) new as u64,
                new_high = in(reg) (new >> 64) as u64,
                low = out(reg) low,
                high = out(reg) high,
                store_low = out(reg) _,
                store_high = out(reg) _,
                fail = out(reg) _,
                options(nostack),
            );
        }
        return u128::from(high) << 64 | u128::from(low);
    }
    #[cfg(not(target_arch = "aarch64"))]
    {
        static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _held = LOCK.lock();
        let at = at.cast::<u128>();
        // SAFETY: the caller's promise.
        let seen = unsafe { at.read() };
        if seen == old {
            // SAFETY: likewise.
            unsafe { at.write(new) };
        }
        seen
    }
}

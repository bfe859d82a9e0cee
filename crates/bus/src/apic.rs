//! What a processor core asks of its local APIC (Vol. 3A, chapter 10).

/// The core's side of a local APIC. Called by the vCPU's thread; the APIC raises [`Attention`](crate::Attention) bits from any thread.
pub trait LocalApic: Send + Sync {
    /// Whether an interrupt is deliverable now: an IRR bit above the processor priority, or ExtINT from the 8259 pair.
    fn has_interrupt(&self) -> bool;
    /// INTA: takes the interrupt of highest priority and tells its vector. `None` if it went away.
    fn acknowledge(&self) -> Option<u8>;
    /// The start-up vector of a pending SIPI, taken.
    fn take_sipi(&self) -> Option<u8>;
    /// CR8 (bits 7:4 of the task priority register).
    fn cr8(&self) -> u8;
    /// MOV to CR8.
    fn set_cr8(&self, value: u8);
    /// RDMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC register; `None` raises #GP.
    fn read_msr(&self, msr: u32) -> Option<u64>;
    /// WRMSR of the same; `false` raises #GP.
    fn write_msr(&self, msr: u32, value: u64) -> bool;
    /// IA32_TSC_ADJUST (or whatever else the guest's counter is ahead of the clock's) is now `adjust`: moves the TSC deadline.
    fn set_tsc_adjust(&self, adjust: u64) {
        let _ = adjust;
    }
    /// The MMIO page of xAPIC mode if it is enabled: (guest-physical address), for the CPU's decoder.
    fn mmio_base(&self) -> Option<u64>;
    /// A doubleword of the xAPIC page.
    fn mmio_read(&self, offset: u64) -> u32;
    /// A store to the xAPIC page.
    fn mmio_write(&self, offset: u64, value: u32);
    /// CPUID leaf 1: initial APIC ID.
    fn id(&self) -> u32;
    /// INIT: everything but the ID and the base back to the reset state.
    fn init(&self);
}

//! Compares the library with the floating-point units of the host's own processor.
//!
//! On other hosts nothing is compared: there is one test that says so. `FERRY_FUZZ_CASES` sets the operands tried per
//! operation and configuration set (default 100000).
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "runs single SSE and x87 instructions through inline assembly"
    )
)]

#[cfg(target_arch = "x86_64")]
mod operands;
#[cfg(target_arch = "x86_64")]
mod report;
#[cfg(target_arch = "x86_64")]
mod sse;
#[cfg(target_arch = "x86_64")]
mod transcendental;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unmasked;
#[cfg(target_arch = "x86_64")]
mod x87;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn skipped_because_the_host_is_not_x86() {
    println!("skipped: the host has no SSE and x87 units to compare with");
}

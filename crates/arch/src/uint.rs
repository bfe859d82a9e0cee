//! The host integers that stand for guest values.

use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// `u8` to `u64`. Sealed: code that reads guest memory relies on every bit pattern being a value.
pub trait Uint: sealed::Sealed + Copy + Eq + Ord + Debug + Default + Send + 'static {
    /// Truncates.
    fn of(v: u64) -> Self;
    /// Zero-extends.
    fn u64(self) -> u64;
}

macro_rules! uint {
    ($($t:ty),*) => {$(impl Uint for $t {
        #[inline(always)]
        fn of(v: u64) -> Self {
            v as $t
        }
        #[inline(always)]
        fn u64(self) -> u64 {
            self as u64
        }
    })*};
}
uint!(u8, u16, u32, u64);

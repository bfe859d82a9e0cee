//! FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ (SDM Vol. 1, 8.3.4).

use crate::wide::rounds_up;
use crate::{Env, F80};

/// A constant of the x87, in the order of its opcodes D9 E8 to D9 EE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// FLD1.
    One,
    /// FLDL2T: log2(10).
    Log2Ten,
    /// FLDL2E: log2(e).
    Log2E,
    /// FLDPI.
    Pi,
    /// FLDLG2: log10(2).
    Log10Two,
    /// FLDLN2: ln(2).
    Ln2,
    /// FLDZ.
    Zero,
}

impl Constant {
    /// Sign and exponent, significand, and the three bits that follow the significand.
    const fn digits(self) -> (u16, u64, u64) {
        match self {
            Constant::One => (0x3fff, 0x8000_0000_0000_0000, 0),
            Constant::Log2Ten => (0x4000, 0xd49a_784b_cd1b_8afe, 0b010),
            Constant::Log2E => (0x3fff, 0xb8aa_3b29_5c17_f0bb, 0b101),
            Constant::Pi => (0x4000, 0xc90f_daa2_2168_c234, 0b110),
            Constant::Log10Two => (0x3ffd, 0x9a20_9a84_fbcf_f798, 0b100),
            Constant::Ln2 => (0x3ffe, 0xb172_17f7_d1cf_79ab, 0b110),
            Constant::Zero => (0, 0, 0),
        }
    }
}

/// The constant, rounded as RC tells. Raises nothing, not even PE, and clears C1.
pub fn constant(env: &mut Env, which: Constant) -> F80 {
    env.roundup = false;
    let (sign_exponent, significand, rest) = which.digits();
    let up = rounds_up(
        env.rounding,
        false,
        significand & 1 != 0,
        rest << 1 | u64::from(rest != 0),
        8,
    );
    F80::new(sign_exponent, significand + u64::from(up))
}

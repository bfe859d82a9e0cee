//! The power series, in fixed point with 128 fraction bits, and the constants they need.

use super::wide::{Wide, mul_high};

/// pi.
pub(super) const PI: Wide = Wide {
    negative: false,
    exponent: 1,
    significand: 0xc90fdaa2_2168c234_c4c6628b_80dc1cd1,
};
/// ln(2).
const LN_2: Wide = Wide {
    negative: false,
    exponent: -1,
    significand: 0xb17217f7_d1cf79ab_c9e3b398_03f2f6af,
};
/// 2 / ln(2).
const TWO_OVER_LN_2: Wide = Wide {
    negative: false,
    exponent: 1,
    significand: 0xb8aa3b29_5c17f0bb_be87fed0_691d3e89,
};
/// The square root of two, as a significand.
const SQRT_2: u128 = 0xb504f333_f9de6484_597d89b3_754abe9f;

/// atan(k / 16) as fractions of 2^128.
const ATAN: [u128; 17] = [
    0,
    0x0ffaaddb_967ef4e3_6cb2792d_c0e2e0d5,
    0x1fd5ba9a_ac2f6dc6_5912f313_e7d111df,
    0x2f72f697_9cb6044d_1ec2d3e2_07271d22,
    0x3eb6ebf2_5901bac5_5b71e7bd_7de885f9,
    0x4d89dcdc_1faf2f34_e2d5da4c_693d7994,
    0x5bd86507_937bc239_c5519091_6e7f2242,
    0x6993bb0f_308ff2db_213e4af4_800f389b,
    0x76b19c15_86ed3da2_b7f222f6_5e1d4682,
    0x832bf4a6_d9867e2a_4b6a09cb_61a515c1,
    0x8f005d5e_f7f59f9b_5c835e16_65c43748,
    0x9a2f80e6_71bdda20_4226f8e2_204ff3bd,
    0xa4bc7d19_34f70924_19a87f2a_457dac9f,
    0xaeac4c38_b4d8c080_14725e2f_3e52070a,
    0xb8053e2b_c2319e73_cb2da552_10a4443d,
    0xc0ce85b8_ac526640_89dd62c4_6e92fa25,
    0xc90fdaa2_2168c234_c4c6628b_80dc1cd1,
];

/// 1/2!, 1/3!, 1/4!, ...
const EXP: [u128; 31] = reciprocal_factorials(2, 1);
/// 1/3!, 1/5!, 1/7!, ...
const SIN: [u128; 16] = reciprocal_factorials(3, 2);
/// 1/2!, 1/4!, 1/6!, ...
const COS: [u128; 16] = reciprocal_factorials(2, 2);
/// 1/3, 1/5, 1/7, ...
const ODD: [u128; 26] = {
    let mut table = [0; 26];
    let mut i = 0;
    while i < table.len() {
        table[i] = u128::MAX / (2 * i as u128 + 3);
        i += 1;
    }
    table
};

/// `1/first!, 1/(first + step)!, ...` as fractions of 2^128.
const fn reciprocal_factorials<const N: usize>(first: u128, step: u128) -> [u128; N] {
    let mut table = [0; N];
    let (mut value, mut n, mut i) = (1 << 127, 2, 0);
    while i < N {
        while n < first + i as u128 * step {
            n += 1;
            value /= n;
        }
        table[i] = value;
        i += 1;
    }
    table
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signs {
    Positive,
    Alternating,
}

/// `c[0] t ± c[1] t^2 + c[2] t^3 ± ...`, leaving out the terms that are below 2^-128.
fn series(t: u128, coefficients: &[u128], signs: Signs) -> u128 {
    let terms = (130 / t.leading_zeros().max(1)) as usize + 1;
    let terms = terms.min(coefficients.len());
    let sum = coefficients
        .iter()
        .take(terms)
        .rev()
        .fold(0, |sum, &c| match signs {
            Signs::Positive => c + mul_high(t, sum),
            Signs::Alternating => c - mul_high(t, sum),
        });
    mul_high(t, sum)
}

/// Sine, for a magnitude of at most pi/4, not zero.
pub(super) fn sin(r: Wide) -> Wide {
    r.scale_down(series(r.square_fraction(), &SIN, Signs::Alternating))
}

/// Cosine, for a magnitude of at most pi/4.
pub(super) fn cos(r: Wide) -> Wide {
    Wide::ONE.scale_down(series(r.square_fraction(), &COS, Signs::Alternating))
}

/// `2^x - 1` for a magnitude of at most one, not zero.
pub(super) fn exp2_minus_1(x: Wide) -> Wide {
    let t = x.mul(LN_2);
    if t.negative {
        t.scale_down(series(t.fraction(), &EXP, Signs::Alternating))
    } else {
        t.scale_up(series(t.fraction(), &EXP, Signs::Positive))
    }
}

/// log2((1 + s) / (1 - s)) for a magnitude of s of at most 0.172, not zero.
fn log2_of_ratio(s: Wide) -> Wide {
    s.scale_up(series(s.square_fraction(), &ODD, Signs::Positive))
        .mul(TWO_OVER_LN_2)
}

/// A logarithm to base two; `exact` for powers of two.
pub(super) struct Log2 {
    pub(super) value: Wide,
    pub(super) exact: bool,
}

/// log2(x) for a positive x.
pub(super) fn log2(x: Wide) -> Log2 {
    let above = x.significand > SQRT_2;
    let exponent = x.exponent + i32::from(above);
    let whole = Wide::from_integer(exponent < 0, u128::from(exponent.unsigned_abs()), 0);
    if x.significand == 1 << 127 {
        return Log2 {
            value: whole,
            exact: true,
        };
    }
    let m = Wide {
        exponent: -i32::from(above),
        ..x
    };
    let minus_one = Wide::ONE.negate_if(true);
    let ratio = m.add(minus_one).div(m.add(Wide::ONE));
    Log2 {
        value: whole.add(log2_of_ratio(ratio)),
        exact: false,
    }
}

/// log2(1 + x) for x above -1, not zero.
pub(super) fn log2_plus_1(x: Wide) -> Log2 {
    // From -0.25 to 0.25 without the rounding of 1 + x.
    if x.exponent < -2 {
        let two = Wide {
            exponent: 1,
            ..Wide::ONE
        };
        return Log2 {
            value: log2_of_ratio(x.div(x.add(two))),
            exact: false,
        };
    }
    log2(x.add(Wide::ONE))
}

/// atan(n / d) for positive n and d, n not above d.
pub(super) fn atan(n: Wide, d: Wide) -> Wide {
    let distance = d.exponent - n.exponent;
    // Below 1/32 the series does it alone. Else, with c = k/16 next to n/d: atan(n/d) = atan(c) + atan((n - cd) / (d + cn)).
    let (numerator, denominator) = (
        (n.significand >> 10)
            .checked_shr(distance as u32)
            .unwrap_or(0),
        d.significand >> 10,
    );
    let k = ((numerator >> 60) as u64 * 32 / (denominator >> 60) as u64 + 1) >> 1;
    if k == 0 {
        return atan_series(n.div(d));
    }
    let (above, base) = (numerator * 16, denominator * u128::from(k));
    let below = denominator * 16 + numerator * u128::from(k);
    let table = Wide::from_integer(false, ATAN.get(k as usize).copied().unwrap_or(0), -128);
    let w = Wide::from_integer(above < base, above.abs_diff(base), 0);
    if w.is_zero() {
        return table;
    }
    table.add(atan_series(w.div(Wide::from_integer(false, below, 0))))
}

fn atan_series(w: Wide) -> Wide {
    w.scale_down(series(w.square_fraction(), &ODD, Signs::Alternating))
}

//! COMISS, UCOMISS and CMPSS with its 32 predicates.

use super::arith::{denormal_operand, order_key};
use super::format::Format;
use crate::{Env, Flags, Ordering4};

/// UCOMISS/UCOMISD: only signaling NaNs are invalid.
pub fn compare_quiet<F: Format>(env: &mut Env, a: F, b: F) -> Ordering4 {
    compare(env, a, b, false)
}

/// COMISS/COMISD: all NaNs are invalid.
pub fn compare_signaling<F: Format>(env: &mut Env, a: F, b: F) -> Ordering4 {
    compare(env, a, b, true)
}

fn compare<F: Format>(env: &mut Env, a: F, b: F, signaling: bool) -> Ordering4 {
    let (a, b) = (a.under_daz(env), b.under_daz(env));
    if a.is_nan() || b.is_nan() {
        if signaling || a.is_signaling() || b.is_signaling() {
            env.raise(Flags::IE);
        }
        return Ordering4::Unordered;
    }
    denormal_operand(env, a, b);
    match order_key(a).cmp(&order_key(b)) {
        std::cmp::Ordering::Less => Ordering4::Less,
        std::cmp::Ordering::Equal => Ordering4::Equal,
        std::cmp::Ordering::Greater => Ordering4::Greater,
    }
}

const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const UNORDERED: u8 = 8;

/// The outcomes for which predicates 0 to 15 hold, and whether quiet NaNs are invalid (SDM Vol. 2A, CMPPD, table 3-1).
const PREDICATES: [(u8, bool); 16] = [
    (EQUAL, false),                      // EQ_OQ
    (LESS, true),                        // LT_OS
    (LESS | EQUAL, true),                // LE_OS
    (UNORDERED, false),                  // UNORD_Q
    (LESS | GREATER | UNORDERED, false), // NEQ_UQ
    (EQUAL | GREATER | UNORDERED, true), // NLT_US
    (GREATER | UNORDERED, true),         // NLE_US
    (LESS | EQUAL | GREATER, false),     // ORD_Q
    (EQUAL | UNORDERED, false),          // EQ_UQ
    (LESS | UNORDERED, true),            // NGE_US
    (LESS | EQUAL | UNORDERED, true),    // NGT_US
    (0, false),                          // FALSE_OQ
    (LESS | GREATER, false),             // NEQ_OQ
    (EQUAL | GREATER, true),             // GE_OS
    (GREATER, true),                     // GT_OS
    (15, false),                         // TRUE_UQ
];

/// CMPSS/CMPSD with predicate `imm & 31`; the upper sixteen are the lower ones with the signaling of quiet NaNs inverted.
/// SSE encodes only the first eight: its caller masks the immediate with 7.
pub fn cmp_predicate<F: Format>(env: &mut Env, a: F, b: F, imm: u8) -> bool {
    let (holds, signaling) = PREDICATES[usize::from(imm & 15)];
    let outcome = match compare(env, a, b, signaling != (imm & 16 != 0)) {
        Ordering4::Less => LESS,
        Ordering4::Equal => EQUAL,
        Ordering4::Greater => GREATER,
        Ordering4::Unordered => UNORDERED,
    };
    holds & outcome != 0
}

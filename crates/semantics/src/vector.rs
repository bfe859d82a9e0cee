//! Vector operations without state: packed integer arithmetic, shuffles, packs (Vol. 1, chapters 9 to 12).

/// One 128-bit operation. Immediates are part of the operation: they are known while decoding.
///
/// [`VecOp::eval`] is the meaning; an engine may emit any code that gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VecOp {
    /// Bitwise AND.
    And,
    /// `!a & b`.
    AndNot,
    /// Bitwise OR.
    Or,
    /// Bitwise XOR.
    Xor,
}

impl VecOp {
    /// The result for operands `a` (DEST) and `b` (SRC).
    #[inline(always)]
    pub fn eval(self, a: u128, b: u128) -> u128 {
        match self {
            Self::And => a & b,
            Self::AndNot => !a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

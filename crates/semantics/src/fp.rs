//! SSE floating-point operations as words of the vocabulary (Vol. 1, chapters 10 and 11).

/// The element format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FpFormat {
    /// Binary32.
    Single,
    /// Binary64.
    Double,
}

/// One lane-wise operation under MXCSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FpOp {
    Add,
    Sub,
    Mul,
    Div,
    /// `a < b ? a : b`, as MINxx defines it for NaN and zeros.
    Min,
    Max,
    /// Square root of `b`.
    Sqrt,
}

/// Which NaNs make a comparison invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Only signaling NaNs (UCOMISx).
    Quiet,
    /// Any NaN (COMISx).
    Signaling,
}

//! The SDM's vocabulary as types: registers, exceptions, control bits.

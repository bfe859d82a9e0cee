//! The chips, one file each.

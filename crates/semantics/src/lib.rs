//! Every instruction's meaning, written once over trait Emit, and the table of what exists.

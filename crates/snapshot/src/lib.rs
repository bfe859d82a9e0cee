//! The container of saved machine state: named, versioned sections.

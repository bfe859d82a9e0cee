//! Port I/O, MMIO, interrupt lines and the virtual clock.

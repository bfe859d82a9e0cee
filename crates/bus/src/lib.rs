//! What joins processor and chips: port I/O, MMIO, interrupt lines, the virtual clock, and the word that makes a vCPU look up.
//!
//! Chips implement [`Device`]; the board places them on a [`Bus`]; the processor calls the bus. Nobody here knows a chip by name.
//! Invariants: a device never sees the processor (it raises a line, reads the clock, asks for a stop); time is read in
//! [`clock`] and nowhere else; a device lock may be held while an interrupt line changes, never the other way round.

pub mod apic;
pub mod attention;
pub mod clock;
pub mod device;
pub mod line;
pub mod map;
pub mod space;
pub mod stop;

pub use apic::LocalApic;
pub use attention::Attention;
pub use clock::{Alarm, Clock};
pub use device::{AccessSize, Device};
pub use line::IrqLine;
pub use map::Bus;
pub use space::Window;
pub use stop::{ResetSource, StopReason, StopRequest};

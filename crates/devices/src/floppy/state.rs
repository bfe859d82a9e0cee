//! What the controller remembers.

use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 1;

/// Where a command is (4.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    #[default]
    Command,
    /// Executing; the host waits.
    Busy,
    /// Executing without DMA: bytes for the host.
    ToHost,
    /// Executing without DMA: bytes from the host.
    FromHost,
    Result,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Digital output register: in reset after power-on.
    pub dor: u8,
    pub tape: u8,
    pub rate: u8,
    pub interrupt: bool,
    pub phase: Phase,
    /// The command as far as it came, data of its execution, or its result.
    pub fifo: Vec<u8>,
    pub position: usize,
    /// The command under way.
    pub command: Vec<u8>,
    /// Status bytes that SENSE INTERRUPT STATUS tells, in turn.
    pub sense: Vec<u8>,
    /// Physical cylinder of each drive, and that of the last seek.
    pub cylinders: [u8; 4],
    /// SPECIFY: no DMA.
    pub non_dma: bool,
    pub timing: [u8; 2],
    /// CONFIGURE, and the track where write precompensation begins.
    pub configuration: u8,
    pub precompensation: u8,
    pub perpendicular: u8,
    pub locked: bool,
    /// Disk change latches.
    pub changed: [bool; 2],
}

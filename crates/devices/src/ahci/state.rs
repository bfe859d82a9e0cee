//! What the controller remembers.

use crate::ata::packet::Unit;
use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 1;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub hba: Hba,
    pub ports: [Port; super::PORTS],
}

/// Generic host control.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Hba {
    pub ghc: u32,
    pub is: u32,
}

/// A port's registers (3.3), and what its device remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Port {
    /// Command list and received FIS base addresses.
    pub clb: u64,
    pub fb: u64,
    pub is: u32,
    pub ie: u32,
    pub cmd: u32,
    pub tfd: u32,
    pub sig: u32,
    pub ssts: u32,
    pub sctl: u32,
    pub serr: u32,
    pub sact: u32,
    pub ci: u32,
    /// Slots that were given to the device.
    pub issued: u32,
    /// A command failed: nothing goes on before the port is started anew.
    pub stopped: bool,
    pub soft_reset: bool,
    /// The signature waits for the host to enable FIS reception.
    pub signature_waits: bool,
    pub no_write_cache: bool,
    pub mode: u8,
    pub unit: Unit,
}

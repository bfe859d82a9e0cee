//! Why a machine stops running, and how a chip asks for it.

use crate::Attention;
use std::sync::{Arc, Mutex, PoisonError};

/// Who pulled the reset line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetSource {
    /// A fault while delivering a double fault (Vol. 3A, 6.15, "Double Fault").
    TripleFault,
    /// The keyboard controller's pulse of output line 0.
    Keyboard,
    /// Port 0xCF9 (reset control register of the ICH).
    ResetControl,
    /// Port 0x92, bit 0.
    FastReset,
    /// The ACPI reset register.
    Acpi,
    /// The reset button.
    Button,
}

/// Why the run loop was left for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// ACPI S5.
    PowerOff,
    /// RESET#.
    Reset(ResetSource),
    /// A write to the debug-exit port.
    DebugExit(u32),
    /// The host's user asked.
    User,
}

/// Shared by all who may stop the machine; the first request wins until it is taken.
#[derive(Clone, Debug)]
pub struct StopRequest {
    shared: Arc<(Mutex<Option<StopReason>>, Vec<Arc<Attention>>)>,
}

impl StopRequest {
    /// Stops the vCPUs that these words belong to.
    pub fn new(vcpus: Vec<Arc<Attention>>) -> Self {
        Self {
            shared: Arc::new((Mutex::new(None), vcpus)),
        }
    }
    /// Asks all vCPUs to leave their run loops.
    pub fn request(&self, reason: StopReason) {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        for a in &self.shared.1 {
            a.raise(Attention::STOP);
        }
    }
    /// The reason, taken: a later request counts anew.
    pub fn take(&self) -> Option<StopReason> {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

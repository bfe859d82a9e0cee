//! What a machine is built of.

use crate::engine::EngineKind;
use crate::firmware::Firmware;
use std::path::PathBuf;

/// What the guest's reset does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReset {
    /// The machine starts anew.
    Restart,
    /// The run ends.
    Stop,
}

/// Whether port 0xF4 ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugExit {
    Absent,
    Present,
}

/// Whether there is a display adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vga {
    Absent,
    /// A VGA with Bochs' linear modes.
    Present,
}

/// Ports for people who write kernels and emulators.
#[derive(Clone, Debug, Default)]
pub struct DebugPorts {
    /// Ports whose bytes go to files: 0xE9, 0x402.
    pub consoles: Vec<(u16, PathBuf)>,
    /// QEMU's pc-testdev.
    pub test_device: bool,
}

/// A machine to be built.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of RAM, a whole number of pages from `layout::MEMORY_MIN` to `layout::MEMORY_MAX`.
    pub memory: u64,
    pub cpu: cpu::Model,
    pub engine: EngineKind,
    /// How the translator works, where it is the engine.
    pub jit: ::engine::Options,
    /// Loaded directly, or by the firmware if there is some.
    pub kernel: Option<PathBuf>,
    pub initrd: Option<PathBuf>,
    pub command_line: String,
    pub on_reset: OnReset,
    pub debug_exit: DebugExit,
    pub vga: Vga,
    /// The display adapter's BIOS.
    pub video_bios: Option<PathBuf>,
    pub drives: Vec<crate::drives::Drive>,
    pub cards: Vec<crate::cards::Card>,
    pub shares: Vec<crate::shares::Folder>,
    pub debug_ports: DebugPorts,
    pub firmware: Firmware,
}

/// The names of the processor models.
pub fn cpu_models() -> Vec<&'static str> {
    cpu::Model::names().to_vec()
}

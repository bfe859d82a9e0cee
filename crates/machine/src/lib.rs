//! The board: wiring, loaders, ACPI tables; run, pause, reset.
//!
//! [`BootImage::read`] reads and checks the files, [`Machine::new`] wires the chips of `board` and loads the kernel, [`Machine::run`] runs
//! it. [`loader`] turns a kernel file into a plan of what goes where; [`acpi`] describes the board to the guest; [`layout`] and
//! [`memory_map`] say where things stand.

pub mod acpi;
mod board;
mod bootable;
pub mod cards;
mod config;
mod console;
pub mod drives;
mod engine;
mod error;
mod firmware;
mod image;
mod inspect;
pub mod layout;
pub mod loader;
mod machine;
mod media;
pub mod memory_map;
mod remote;
mod serial;
pub mod shares;
mod smbios;
mod ticker;

pub use ::engine::{
    Dump as JitDump, Options as JitOptions, Report as EngineReport, SWITCHES as JIT_SWITCHES,
    Switch as JitSwitch, Symbols,
};
pub use block::{
    Access as DiskAccess, Cache as DiskCache, Format as DiskFormat, Options as DiskOptions,
    Persistence as DiskPersistence,
};
pub use bootable::BootDevice;
pub use bus::{ResetSource, StopReason, StopRequest};
pub use config::{Config, DebugExit, DebugPorts, OnReset, Vga, cpu_models};
pub use console::{Console, video_bios};
pub use cpu::{Model as CpuModel, Stats};
pub use engine::EngineKind;
pub use error::{Blame, Error};
pub use firmware::{Firmware, Variables};
pub use image::BootImage;
pub use machine::{Machine, describe};
pub use media::Media;
pub use net::{
    Forward as NetForward, Protocol as NetProtocol, Restrict as NetRestrict,
    StreamAddress as NetStreamAddress, StreamOptions as NetStreamOptions,
    UserOptions as NetUserOptions,
};
pub use remote::Remote;
pub use serial::SerialInput;
pub use share::Access as ShareAccess;

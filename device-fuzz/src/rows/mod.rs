//! How each device is put on a board, and what happens to it beside accesses to its registers.

pub mod bridges;
pub mod disks;
pub mod networks;
pub mod system;
pub mod video;
pub mod virtio;

//! The machine's screen and keyboard for people elsewhere: a VNC server ([`rfb`]), a page in the browser ([`web`]), the terminal
//! ([`text`]), pictures as files ([`picture`]).
//!
//! All take a [`Seat`], handles to the display adapter and to keyboard and mouse. Nobody here stops the machine: pictures come from
//! snapshots. Invariant: whatever a client sends, memory and time spent on it are bounded, and it ends only its own connection.

pub mod keys;
mod listen;
pub mod picture;
mod pointer;
mod random;
pub mod rfb;
mod seat;
pub mod text;
mod tiles;
pub mod web;

pub use devices::vga::Snapshot;
pub use listen::{Address, Server, Stream};
pub use seat::{Seat, Watch};

/// Host trouble of a display.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("the host gives no random numbers")]
    Random(#[source] std::io::Error),
}

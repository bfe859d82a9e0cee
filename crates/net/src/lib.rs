//! What network cards are connected to.
//!
//! A card is a [`Nic`]: whoever is on the other side takes the frames that the guest sends and gives it those that it receives, straight
//! from and to the card's rings. A [`Backend`] is that other side. It has a thread of its own, which does all the work: the processor's
//! thread only calls [`Backend::kick`], which does not block. Nothing is queued that the rings could keep, so that memory is bounded by
//! them and by the limits of each back end.
//!
//! [`User`] is NAT in this process: guests reach the host's networks through the host's sockets, without privileges. [`Stream`] is a cable
//! over a connection: to another machine, to passt, to a switch of many machines. `Tap` is an interface of the host. [`Dumped`] listens in
//! on any of them.

mod dump;
mod framed;
mod stream;
mod switch;
#[cfg(target_os = "linux")]
mod tap;
#[cfg(test)]
mod tests;
mod user;
mod wire;
mod worker;

pub use dump::Dumped;
pub use stream::{Stream, StreamAddress, StreamOptions};
pub use user::{Forward, Protocol, Restrict, User, UserOptions};

use std::io;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

/// A TCP segment of more than the link takes, for a card that has the guest cut it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Bytes of data in each piece.
    pub size: NonZeroU16,
    /// Where TCP's header begins in the frame.
    pub transport: u16,
    /// Where its data begin.
    pub data: u16,
}

/// A card, as its network sees it. Called by the back end's thread.
pub trait Nic: Send + Sync {
    /// Takes the next frame that the guest sends, in place of what `frame` held; `false` if there is none.
    fn take(&self, frame: &mut Vec<u8>) -> bool;
    /// Gives the guest a frame; `false` if there is no room for it now. With `gso` the checksum field of TCP holds only the pseudo
    /// header's sum; this is asked only of a card whose [`Nic::takes_gso`] says yes.
    fn give(&self, frame: &[u8], gso: Option<Gso>) -> bool;
    /// Whether the guest's driver takes segments beyond the link's limit.
    fn takes_gso(&self) -> bool {
        false
    }
    /// Spares the guest its notifications until [`Nic::arm`].
    fn disarm(&self);
    /// Asks for a [`Backend::kick`] when there are frames, and when there is room after [`Nic::give`] had none (`starved`). Tells whether
    /// there is some already.
    fn arm(&self, starved: bool) -> bool;
}

/// A network.
pub trait Backend: Send + Sync {
    /// Connects the card. A second one takes the first one's place.
    fn attach(&self, nic: Arc<dyn Nic>);
    /// The guest sent frames or made room. Does not block.
    fn kick(&self);
    /// Whether it takes TCP segments beyond the link's limit, and frames whose TCP and UDP checksums are missing.
    fn takes_offloads(&self) -> bool {
        false
    }
}

/// A cable to the TAP interface `name` of the host, which is made if it is missing and if the host lets us.
pub fn tap(name: &str) -> Result<Arc<dyn Backend>, Error> {
    #[cfg(target_os = "linux")]
    return Ok(Arc::new(tap::Tap::new(name)?));
    #[cfg(not(target_os = "linux"))]
    Err(Error::Tap {
        name: name.to_owned(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// A hardware address such as another card hardly has: 52:54:00, as QEMU's are, and three random bytes.
pub fn random_address() -> [u8; 6] {
    let mut all = [0x52, 0x54, 0, 0, 0, 0];
    // Without entropy they are zero, and the next one's are, too: the guests will complain.
    if let Some(rest) = all.get_mut(3..) {
        let _ = getrandom::fill(rest);
    }
    all
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot listen on {protocol} {address} for the guest's port {guest} (accepted is an address of this host with a free port)"
    )]
    Listen {
        protocol: &'static str,
        address: std::net::SocketAddr,
        guest: u16,
        source: io::Error,
    },
    #[error("cannot write the frames to {} (accepted is the path of a file that can be written)", path.display())]
    Dump { path: PathBuf, source: io::Error },
    #[error(
        "cannot listen on {address} for the other end of the cable (accepted is an address of this host with a free port, or the path of \
a socket that is not there yet)"
    )]
    Attach { address: String, source: io::Error },
    #[error("cannot connect to {address} (accepted is where another end of the cable listens)")]
    Connect { address: String, source: io::Error },
    #[error(
        "cannot open the TAP interface '{name}' (accepted is one that this user owns, or any as root: ip tuntap add mode tap user NAME)"
    )]
    Tap { name: String, source: io::Error },
    #[error("cannot start the network's thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Whether another request would not help.
    pub fn blames_host(&self) -> bool {
        matches!(self, Self::Thread(_))
    }
}

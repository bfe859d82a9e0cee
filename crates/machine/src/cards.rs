//! Network cards: which a machine has, and what each is connected to.

use crate::Error;
use bus::Bus;
use devices::PciBus;
use devices::pci::Address;
use devices::virtio::{Net, VirtioPci};
use devices::{E1000, Rtl8139};
use net::{Backend, Dumped, Stream, StreamOptions, User, UserOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// How many cards a machine takes.
pub const LIMIT: usize = 4;

/// What a card is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// NAT in this process.
    User(UserOptions),
    /// One other machine, or whatever speaks QEMU's protocol.
    Stream(StreamOptions),
    /// The switch at this path, with other machines of this host.
    Switch(PathBuf),
    /// An interface of the host.
    Tap(String),
}

/// Which chip a card has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    #[default]
    Virtio,
    /// Intel 82540EM.
    E1000,
    /// Realtek RTL8139C.
    Rtl8139,
}

impl Model {
    /// By the names that people type.
    pub const NAMES: [(&str, Self); 3] = [
        ("virtio", Self::Virtio),
        ("e1000", Self::E1000),
        ("rtl8139", Self::Rtl8139),
    ];
}

/// A network card to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub network: Network,
    pub model: Model,
    /// Its hardware address; by default 52:54:00:12:34:56, 57 and so on, random where it is not alone on its network.
    pub mac: Option<[u8; 6]>,
    /// Where all frames are written.
    pub dump: Option<PathBuf>,
}

impl Card {
    /// A virtio card on this network.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            model: Model::default(),
            mac: None,
            dump: None,
        }
    }

    fn backend(&self) -> Result<Arc<dyn Backend>, net::Error> {
        let backend: Arc<dyn Backend> = match &self.network {
            Network::User(options) => Arc::new(User::new(options)?),
            Network::Stream(options) => Arc::new(Stream::new(options)?),
            Network::Switch(path) => Arc::new(Stream::to_switch(path)?),
            Network::Tap(name) => net::tap(name)?,
        };
        Ok(match &self.dump {
            Some(path) => Arc::new(Dumped::new(backend, path)?),
            None => backend,
        })
    }

    /// The address of the machine's card `n`.
    fn address(&self, n: u8) -> [u8; 6] {
        match (self.mac, &self.network) {
            (Some(mac), _) => mac,
            (None, Network::User(_)) => [0x52, 0x54, 0, 0x12, 0x34, 0x56u8.wrapping_add(n)],
            (None, _) => net::random_address(),
        }
    }
}

/// A function for each card, from PCI device `next` on.
pub(crate) fn plug(
    cards: &[Card],
    bus: &mut Bus,
    pci: &PciBus,
    next: &mut u8,
) -> Result<(), Error> {
    for (n, card) in (0u8..).zip(cards) {
        let backend = card.backend().map_err(Error::Network)?;
        let mac = card.address(n);
        let at = Address::new(std::mem::replace(next, *next + 1), 0);
        match card.model {
            Model::Virtio => {
                pci.plug(bus, at, VirtioPci::<Net>::config(), |wires| {
                    let name = format!("virtio-net{n}");
                    VirtioPci::new(&name, wires, |core| Net::new(core, backend, mac))
                });
            }
            Model::E1000 => {
                pci.plug(bus, at, E1000::config(), |wires| {
                    E1000::new(&format!("e1000-{n}"), wires, backend, mac)
                });
            }
            Model::Rtl8139 => {
                pci.plug(bus, at, Rtl8139::config(), |wires| {
                    Rtl8139::new(&format!("rtl8139-{n}"), wires, backend, mac)
                });
            }
        }
    }
    Ok(())
}

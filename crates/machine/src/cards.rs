//! Network cards: which a machine has, and what each is connected to.

use crate::Error;
use bus::Bus;
use devices::PciBus;
use devices::pci::Address;
use devices::virtio::{Net, VirtioPci};
use net::{Backend, User, UserOptions};
use std::sync::Arc;

/// How many cards a machine takes.
pub const LIMIT: usize = 4;

/// What a card is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// NAT in this process.
    User(UserOptions),
}

/// A network card to be built: virtio-net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub network: Network,
    /// Its hardware address; by default 52:54:00:12:34:56, 57 and so on.
    pub mac: Option<[u8; 6]>,
}

/// A function for each card, from PCI device `next` on.
pub(crate) fn plug(
    cards: &[Card],
    bus: &mut Bus,
    pci: &PciBus,
    next: &mut u8,
) -> Result<(), Error> {
    for (n, card) in (0u8..).zip(cards) {
        let Network::User(options) = &card.network;
        let backend: Arc<dyn Backend> = Arc::new(User::new(options).map_err(Error::Network)?);
        let mac = card
            .mac
            .unwrap_or([0x52, 0x54, 0, 0x12, 0x34, 0x56u8.wrapping_add(n)]);
        let at = Address::new(std::mem::replace(next, *next + 1), 0);
        pci.plug(bus, at, VirtioPci::<Net>::config(), |wires| {
            let name = format!("virtio-net{n}");
            VirtioPci::new(&name, wires, |core| Net::new(core, backend, mac))
        });
    }
    Ok(())
}

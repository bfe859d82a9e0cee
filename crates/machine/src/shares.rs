//! Folders of the host that a guest can mount.

use crate::Error;
use bus::Bus;
use devices::PciBus;
use devices::pci::Address;
use devices::virtio::{P9, VirtioPci};
use share::{Access, Share};
use std::path::PathBuf;
use std::sync::Arc;

/// How many folders a machine takes.
pub const LIMIT: usize = 4;
pub use devices::virtio::TAG_LIMIT;

/// A folder to be shared, by virtio-9p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    pub access: Access,
    /// What the guest mounts it by.
    pub tag: String,
}

/// A function for each folder, from PCI device `next` on.
pub(crate) fn plug(
    folders: &[Folder],
    bus: &mut Bus,
    pci: &PciBus,
    next: &mut u8,
) -> Result<(), Error> {
    for (n, folder) in folders.iter().enumerate() {
        let share = Share::new(&folder.path, folder.access).map_err(Error::Share)?;
        let share = Arc::new(share);
        let at = Address::new(std::mem::replace(next, *next + 1), 0);
        pci.plug(bus, at, VirtioPci::<P9>::config(), |wires| {
            let name = format!("virtio-9p{n}");
            VirtioPci::new(&name, wires, |core| P9::new(core, share, &folder.tag))
        });
    }
    Ok(())
}

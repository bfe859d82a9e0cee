//! Media that come and go while the machine runs: discs and floppies.

use crate::drives::{Interface, check_size};
use block::Disk;
use devices::floppy::Floppy;
use devices::ide::{Ide, Place};
use std::path::Path;
use std::sync::Arc;

/// A drive whose medium can be changed.
#[derive(Clone)]
pub(crate) enum Removable {
    Disc(Ide, Place),
    Floppy(Floppy, usize),
}

/// The drives of a machine, by name: `cdrom0`, `floppy0` and so on.
#[derive(Clone, Default)]
pub struct Media {
    drives: Vec<(String, Removable)>,
}

impl Media {
    pub(crate) fn add(&mut self, drive: Removable) {
        let kind = match drive {
            Removable::Disc(..) => "cdrom",
            Removable::Floppy(..) => "floppy",
        };
        let n = self.drives.iter().filter(|d| d.0.starts_with(kind)).count();
        self.drives.push((format!("{kind}{n}"), drive));
    }

    /// The drives' names.
    pub fn names(&self) -> Vec<&str> {
        self.drives.iter().map(|d| d.0.as_str()).collect()
    }

    /// Puts the image at `path` into the drive `name`, read-only for a disc, or takes out what is in it. On error nothing changes.
    pub fn change(&self, name: &str, path: Option<&Path>) -> Result<(), String> {
        let Some((_, drive)) = self.drives.iter().find(|d| d.0 == name) else {
            return Err(match self.names().join(", ") {
                names if names.is_empty() => {
                    format!(
                        "there is no drive '{name}': the machine has none with a removable medium"
                    )
                }
                names => format!("there is no drive '{name}'; there are {names}"),
            });
        };
        let is_disc = matches!(drive, Removable::Disc(..));
        let open = |path: &Path| -> Result<_, String> {
            let options = block::Options {
                access: match is_disc {
                    true => block::Access::ReadOnly,
                    false => block::Access::ReadWrite,
                },
                ..block::Options::default()
            };
            let image = block::open(path, &options).map_err(|e| e.to_string())?;
            let interface = match is_disc {
                true => Interface::Ide,
                false => Interface::Floppy,
            };
            check_size(interface, path, image.size()).map_err(|e| e.to_string())?;
            let disk = Disk::new(image, "FERRY").map_err(|e| e.to_string())?;
            Ok(Arc::new(disk))
        };
        let medium = path.map(open).transpose()?;
        match drive {
            Removable::Disc(ide, place) => ide.change_disc(*place, medium),
            Removable::Floppy(controller, n) => controller.change_disk(*n, medium),
        }
        Ok(())
    }
}

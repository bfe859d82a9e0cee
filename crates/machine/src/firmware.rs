//! Firmware: where its images are found, how they stand below 4 GiB, and what the machine tells it by fw_cfg.

use crate::bootable::{BootDevice, Bootable};
use crate::memory_map::MemoryMap;
use crate::{Config, Error, acpi, image, layout, smbios};
use devices::fw_cfg::{Items, key};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Images larger than this are not read.
const SIZE_LIMIT: u64 = 16 << 20;
const PAGE: u64 = 4096;
/// Where the image's end is seen a second time, below 1 MiB.
const ALIAS: u64 = 0x2_0000;

/// Where UEFI variables are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Variables {
    /// In the image, if anywhere: the guest cannot change them.
    #[default]
    None,
    /// In a copy of this file that lives as long as the machine.
    Volatile(PathBuf),
    /// In this file; made from `template` if it does not exist.
    File {
        path: PathBuf,
        template: Option<PathBuf>,
    },
}

/// What the machine starts with if not with a kernel.
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    /// The image that ends at 4 GiB; without one the kernel is loaded directly.
    pub image: Option<PathBuf>,
    pub variables: Variables,
    /// Milliseconds for which a boot menu is offered; `None`: there is none.
    pub boot_menu: Option<u32>,
    /// What to boot from, the first one first; the firmware's own order if it is empty.
    pub boot_order: Vec<BootDevice>,
    /// Further files for fw_cfg, by name.
    pub files: Vec<(String, PathBuf)>,
}

/// Where Debian's packages have the images: (name, package, image, template of variables).
const KNOWN: [(&str, &str, &str, Option<&str>); 2] = [
    (
        "seabios",
        "seabios",
        "/usr/share/seabios/bios-256k.bin",
        None,
    ),
    (
        "ovmf",
        "ovmf",
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        Some("/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ),
];

impl Firmware {
    /// The names that [`Firmware::named`] knows.
    pub fn names() -> Vec<&'static str> {
        KNOWN.iter().map(|k| k.0).collect()
    }

    /// The firmware of this name, where its package has it; `None` if there is no such name.
    pub fn named(name: &str) -> Option<Result<Self, Error>> {
        let &(name, package, image, template) = KNOWN.iter().find(|k| k.0 == name)?;
        let files = [Some(image), template];
        if let Some(missing) = files
            .into_iter()
            .flatten()
            .find(|f| !Path::new(f).is_file())
        {
            return Some(Err(Error::NoFirmware {
                name,
                package,
                missing,
            }));
        }
        Some(Ok(Self {
            image: Some(image.into()),
            variables: template.map_or(Variables::None, |t| Variables::Volatile(t.into())),
            ..Self::default()
        }))
    }
}

/// The images, read and checked.
#[derive(Debug)]
pub(crate) struct Images {
    /// What stands below 4 GiB: variables first, then code.
    pub bytes: Vec<u8>,
    /// Bytes of the variables.
    pub variables: u64,
    /// The file behind the variables.
    pub file: Option<PathBuf>,
    /// Files for fw_cfg.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Images {
    /// Reads what `firmware` names.
    pub(crate) fn read(firmware: &Firmware, path: &Path) -> Result<Self, Error> {
        let code = Self::part("firmware", path)?;
        let (mut bytes, file) = match &firmware.variables {
            Variables::None => (Vec::new(), None),
            Variables::Volatile(template) => (Self::part("variable store", template)?, None),
            Variables::File { path, template } => {
                if let Some(template) = template
                    && !path.exists()
                {
                    let bytes = Self::part("variable store", template)?;
                    std::fs::write(path, bytes).map_err(|source| Error::Create {
                        role: "variable store",
                        path: path.clone(),
                        source,
                    })?;
                }
                (Self::part("variable store", path)?, Some(path.clone()))
            }
        };
        let variables = bytes.len() as u64;
        bytes.extend(code);
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(Error::FirmwareSize {
                path: path.into(),
                bytes: bytes.len() as u64,
            });
        }
        let read = |(name, path): &(String, PathBuf)| {
            let bytes = image::read("file for fw_cfg", path, SIZE_LIMIT)?;
            Ok((name.clone(), bytes))
        };
        Ok(Self {
            bytes,
            variables,
            file,
            files: firmware
                .files
                .iter()
                .map(read)
                .collect::<Result<_, Error>>()?,
        })
    }

    fn part(role: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
        let bytes = image::read(role, path, SIZE_LIMIT)?;
        let size = bytes.len() as u64;
        if size == 0 || !size.is_multiple_of(PAGE) {
            return Err(Error::FirmwareSize {
                path: path.into(),
                bytes: size,
            });
        }
        Ok(bytes)
    }

    pub(crate) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where the image begins.
    pub(crate) fn start(&self) -> u64 {
        layout::HIGH_RAM - self.size()
    }

    /// Bytes that are seen below 1 MiB too.
    pub(crate) fn alias(&self) -> u64 {
        (self.size() - self.variables).min(ALIAS)
    }

    /// What writes the variables' file.
    pub(crate) fn sink(&self) -> Result<Option<devices::flash::FlashFile>, Error> {
        use std::os::unix::fs::FileExt;
        let Some(path) = &self.file else {
            return Ok(Some(Box::new(|_, _| true)));
        };
        let open = File::options().write(true).open(path);
        let file = open.map_err(|source| Error::Create {
            role: "variable store",
            path: path.clone(),
            source,
        })?;
        let path = path.clone();
        Ok(Some(Box::new(move |at, bytes| {
            let done = file.write_all_at(bytes, at);
            if let Err(e) = &done {
                tracing::error!(target: "machine", path = %path.display(), error = %e, "cannot write UEFI variables");
            }
            done.is_ok()
        })))
    }
}

/// Everything that fw_cfg has to offer.
pub(crate) fn items(
    config: &Config,
    images: Option<&Images>,
    kernel: Option<&Kernel>,
    drives: &Bootable,
) -> Items {
    let mut items = Items::default();
    let cpus = u16::from(crate::machine::CPUS).to_le_bytes();
    items.set(key::RAM_SIZE, config.memory.to_le_bytes());
    items.set(key::CPUS, cpus);
    items.set(key::MAX_CPUS, cpus);
    items.set(key::NO_GRAPHIC, [1, 0]);
    items.set(key::IRQ0_OVERRIDE, 1u32.to_le_bytes());
    items.set(
        key::BOOT_MENU,
        u16::from(config.firmware.boot_menu.is_some()).to_le_bytes(),
    );

    let mut e820 = Vec::new();
    for (start, size) in MemoryMap::new(config.memory).ram() {
        e820.extend(start.to_le_bytes());
        e820.extend(size.to_le_bytes());
        e820.extend(1u32.to_le_bytes());
    }
    items.file("etc/e820", e820);
    let tables = acpi::linked(crate::machine::CPUS, config.memory, config.vga);
    items.file(acpi::RSDP_FILE, tables.rsdp);
    items.file(acpi::TABLES_FILE, tables.tables);
    items.file("etc/table-loader", tables.loader);
    let smbios = smbios::tables(config.memory, crate::machine::CPUS);
    items.file("etc/smbios/smbios-anchor", smbios.anchor);
    items.file("etc/smbios/smbios-tables", smbios.tables);

    // Without a device to boot from, wait for good: QEMU's default as well.
    items.file("etc/boot-fail-wait", u32::MAX.to_le_bytes());
    if let Some(ms) = config.firmware.boot_menu {
        items.file("etc/boot-menu-wait", u64::from(ms).to_le_bytes());
    }
    items.file("etc/sercon-port", u64::from(layout::COM1).to_le_bytes());
    if let Some(order) = drives.order(&config.firmware.boot_order) {
        items.file("bootorder", order);
    }
    if let Some(k) = kernel {
        k.offer(&mut items);
    }
    for (name, bytes) in images.iter().flat_map(|i| &i.files) {
        items.file(name, bytes.as_slice());
    }
    items
}

/// A kernel that the firmware is to start.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub file: Vec<u8>,
    pub initrd: Option<Vec<u8>>,
    pub command_line: String,
}

impl Kernel {
    /// Linux's boot protocol, 1.1: the number of sectors of the real-mode part.
    fn setup_bytes(&self) -> usize {
        const SETUP_SECTORS: usize = 0x1f1;
        const BOOT_FLAG: usize = 0x1fe;
        let linux = self.file.get(BOOT_FLAG..BOOT_FLAG + 2) == Some(&[0x55, 0xaa]);
        let sectors = match self.file.get(SETUP_SECTORS) {
            Some(_) if !linux => return 0,
            Some(0) | None => 4,
            Some(n) => usize::from(*n),
        };
        ((sectors + 1) * 512).min(self.file.len())
    }

    fn offer(&self, items: &mut Items) {
        let size = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        let (setup, kernel) = self.file.split_at(self.setup_bytes());
        items.set(key::SETUP_SIZE, size(setup));
        items.set(key::SETUP_DATA, setup);
        items.set(key::KERNEL_SIZE, size(kernel));
        items.set(key::KERNEL_DATA, kernel);
        let initrd = self.initrd.as_deref().unwrap_or(&[]);
        items.set(key::INITRD_SIZE, size(initrd));
        items.set(key::INITRD_DATA, initrd);
        let mut line = self.command_line.clone().into_bytes();
        line.push(0);
        items.set(key::COMMAND_LINE_SIZE, size(&line));
        items.set(key::COMMAND_LINE_DATA, line);
    }
}

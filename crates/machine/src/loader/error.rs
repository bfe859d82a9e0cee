//! Why a kernel cannot be started.

use crate::layout;

/// What is wrong with the kernel file, or with what was asked to be loaded beside it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("the file is empty; {ACCEPTED}")]
    Empty,
    #[error("not a kernel: {guess}; {ACCEPTED}")]
    Unrecognised { guess: String },
    #[error(
        "the ELF file has neither a PVH note (XEN_ELFNOTE_PHYS32_ENTRY) nor a multiboot 1 header in its first 8 KiB; {ACCEPTED}"
    )]
    ElfWithoutProtocol,
    #[error("the file is cut off: {what} ends at byte {needs:#x}, the file has {has:#x}")]
    Truncated {
        what: &'static str,
        needs: u64,
        has: u64,
    },

    #[error(
        "Linux boot protocol {}.{:02} is too old; accepted are bzImages with protocol 2.02 or newer (Linux 2.4 on)",
        version >> 8, version & 0xff
    )]
    LinuxTooOld { version: u16 },
    #[error(
        "the Linux image is a zImage that loads at 0x10000; accepted is a bzImage (`make bzImage`)"
    )]
    LinuxLow,
    #[error("the Linux setup header has an impossible {field} of {value:#x}")]
    LinuxField { field: &'static str, value: u64 },

    #[error("the ELF file is {what}; accepted are little-endian executables for i386 or x86-64")]
    ElfKind { what: String },
    #[error(
        "the ELF file has {count} program headers of {size} bytes; accepted are 1 to {limit} of at least {least} bytes"
    )]
    ElfHeaders {
        count: u16,
        size: u16,
        limit: u16,
        least: u16,
    },
    #[error("ELF segment {index} has {file:#x} bytes in the file, but only {memory:#x} in memory")]
    ElfSegment {
        index: usize,
        file: u64,
        memory: u64,
    },
    #[error("ELF segments {first} and {second} overlap in memory")]
    ElfOverlap { first: usize, second: usize },
    #[error("the ELF file has no loadable segment")]
    ElfNothing,
    #[error(
        "the PVH note's entry has {size} bytes; accepted are 4 or 8 with an address below 4 GiB"
    )]
    PvhEntry { size: usize },

    #[error(
        "the multiboot header asks for features {bits:#x} that the loader must know and does not; accepted are bits 0, 1, 2 and 16"
    )]
    MultibootFeatures { bits: u32 },
    #[error("the multiboot header has no load addresses (flag bit 16) and the file is not ELF")]
    MultibootAddresses,
    #[error("the multiboot header's load addresses contradict each other: {what}")]
    MultibootLayout { what: &'static str },
    #[error("the entry point {entry:#x} is not inside the loaded kernel")]
    Entry { entry: u64 },

    #[error(
        "the kernel needs memory from {start:#x} to {end:#x}, which the machine does not have as RAM that is free for kernels: from {:#x} to {:#x}, from {:#x} to {:#x}, and at or above 1 MiB (RAM below 4 GiB ends at {has:#x}); give it more --memory or another kernel",
        layout::BOOT_INFO_END, layout::COMMAND_LINE.0, layout::COMMAND_LINE_END, layout::EBDA
    )]
    KernelMemory { start: u64, end: u64, has: u64 },
    #[error(
        "the initrd has {size} bytes, but only {room} bytes of RAM are left for it beside the kernel; give the machine more --memory or a smaller initrd"
    )]
    Initrd { size: u64, room: u64 },
    #[error("the command line has {length} bytes; this kernel accepts {limit}")]
    CommandLine { length: usize, limit: usize },
    #[error("the command line contains a NUL character")]
    CommandLineNul,
}

const ACCEPTED: &str = "accepted are a Linux bzImage, an ELF file with a PVH note (vmlinux) and a multiboot 1 kernel (ELF or flat)";

/// First bytes of files that people mistake for kernels, and what to say.
const KNOWN: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "it is gzip-compressed: decompress it first"),
    (b"\xfd7zXZ\0", "it is xz-compressed: decompress it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is zstd-compressed: decompress it first",
    ),
    (b"BZh", "it is bzip2-compressed: decompress it first"),
    (b"070701", "it is a cpio archive: give it as --initrd"),
    (b"070707", "it is a cpio archive: give it as --initrd"),
    (b"QFI\xfb", "it is a qcow2 disk image"),
    (b"PK\x03\x04", "it is a zip archive"),
    (b"!<arch>", "it is an ar archive or a Debian package"),
    (b"#!", "it is a script"),
    (
        b"MZ",
        "it is a Windows or EFI program without a Linux setup header",
    ),
    (b"%PDF", "it is a PDF document"),
];

impl Error {
    /// The refusal of a file that is nothing known.
    pub(super) fn unrecognised(file: &[u8]) -> Self {
        let known = KNOWN.iter().find(|(magic, _)| file.starts_with(magic));
        let boot_sector = || file.get(510..512) == Some(b"\x55\xaa");
        let guess = match known {
            Some((_, guess)) => (*guess).to_string(),
            None if boot_sector() => "it is a boot sector or a disk image".to_string(),
            None => {
                let first = file.iter().take(8).map(|b| format!("{b:02x}"));
                format!("it begins with {}", first.collect::<Vec<_>>().join(" "))
            }
        };
        Self::Unrecognised { guess }
    }

    pub(super) fn truncated(what: &'static str, needs: u64, file: &[u8]) -> Self {
        Self::Truncated {
            what,
            needs,
            has: file.len() as u64,
        }
    }
}

//! Plans of well-formed files, refusals of damaged ones, and that nothing in a file can make the loader panic.

use super::*;
use proptest::prelude::*;

fn map(bytes: u64) -> MemoryMap {
    MemoryMap::new(bytes)
}

fn plan<'a>(
    file: &'a [u8],
    initrd: Option<&'a [u8]>,
    map: &'a MemoryMap,
) -> Result<Plan<'a>, Error> {
    Kernel::recognise(file)?.plan(&Request {
        name: "kernels/k.elf",
        file,
        initrd,
        command_line: "console=ttyS0",
        map,
        rsdp: layout::ACPI_TABLES,
    })
}

/// The bytes of the plan at `at`.
fn written<'p>(plan: &'p Plan<'_>, at: u64) -> &'p [u8] {
    let found = plan.writes.iter().find(|(a, _)| a.0 == at);
    found
        .map(|(_, bytes)| &bytes[..])
        .expect("a write at this address")
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A bzImage of one setup sector and 4 KiB of code.
fn bzimage(xloadflags: u16) -> Vec<u8> {
    let mut f = vec![0x90; 1024 + 4096];
    f[..1024].fill(0);
    f[0x1f1] = 1;
    put(&mut f, 0x1fe, b"\x55\xaa\xeb\x66HdrS\x0f\x02");
    f[0x211] = 1;
    put(&mut f, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(&mut f, 0x230, &0x20_0000u32.to_le_bytes());
    f[0x234] = 1;
    put(&mut f, 0x236, &xloadflags.to_le_bytes());
    put(&mut f, 0x238, &2047u32.to_le_bytes());
    put(&mut f, 0x258, &0x100_0000u64.to_le_bytes());
    put(&mut f, 0x260, &0x40_0000u32.to_le_bytes());
    f
}

/// An ELF64 executable with one loaded segment of `data` at 2 MiB and one note segment.
fn elf64(data: &[u8], notes: &[u8]) -> Vec<u8> {
    let mut f = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    f.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    f.extend(0xffff_ffff_8020_0010u64.to_le_bytes());
    f.extend(64u64.to_le_bytes());
    f.extend([0; 8 + 4]);
    f.extend([64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let data_at = 64 + 2 * 56;
    let notes_at = data_at + data.len() as u64;
    let size = data.len() as u64;
    let load = [
        data_at,
        0xffff_ffff_8020_0000,
        0x20_0000,
        size,
        size + 0x1000,
        0x1000,
    ];
    let note = [notes_at, 0, 0, notes.len() as u64, notes.len() as u64, 4];
    for (kind, words) in [(1u64, load), (4, note)] {
        f.extend(kind.to_le_bytes());
        f.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    }
    f.extend(data);
    f.extend(notes);
    f
}

fn note(name: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
    let mut n = Vec::new();
    for word in [name.len() as u32, value.len() as u32, kind] {
        n.extend(word.to_le_bytes());
    }
    for part in [name, value] {
        n.extend(part);
        n.resize(n.len().next_multiple_of(4), 0);
    }
    n
}

fn pvh() -> Vec<u8> {
    let mut notes = note(b"Xen\0", 6, b"linux\0");
    notes.extend(note(b"Xen\0", 18, &0x20_0010u32.to_le_bytes()));
    elf64(&[0xf4; 64], &notes)
}

/// A flat multiboot image whose header stands at 16, loaded at 1 MiB, with 32 bytes of bss.
fn flat() -> Vec<u8> {
    let mut f = vec![0xf4; 128];
    let flags = 0x1_0003u32;
    let words = [
        0x1bad_b002,
        flags,
        0u32.wrapping_sub(0x1bad_b002 + flags),
        0x10_0010,
        0x10_0000,
        0,
        0x10_00a0,
        0x10_0040,
    ];
    for (i, w) in words.iter().enumerate() {
        put(&mut f, 16 + 4 * i, &w.to_le_bytes());
    }
    f
}

#[test]
fn a_64_bit_linux_is_entered_at_0x200_behind_its_preferred_address() {
    let (file, map, initrd) = (bzimage(1), map(64 << 20), vec![7; 5000]);
    let p = plan(&file, Some(&initrd), &map).unwrap();
    assert_eq!(
        p.entry,
        Entry::Long {
            rip: 0x100_0200,
            rsi: layout::BOOT_INFO.0,
            cr3: layout::PAGE_TABLES
        }
    );
    assert_eq!(written(&p, 0x100_0000), &file[1024..]);
    assert_eq!(written(&p, layout::COMMAND_LINE.0), b"console=ttyS0\0");
    // As high as possible on a page border: 5000 bytes take two pages.
    let at = (64 << 20) - 0x2000;
    assert_eq!(written(&p, at), initrd);

    let b = written(&p, layout::BOOT_INFO.0);
    assert_eq!(b.len(), 4096);
    assert_eq!(&b[0x202..0x206], b"HdrS");
    assert_eq!(b[0x210], 0xff);
    assert_eq!(le::u32(b, 0x214), Some(0x100_0000));
    assert_eq!(le::u32(b, 0x218), Some(at as u32));
    assert_eq!(le::u32(b, 0x21c), Some(5000));
    assert_eq!(le::u64(b, 0x70), Some(layout::ACPI_TABLES.0));
    assert_eq!(usize::from(b[0x1e8]), map.regions().len());
    assert_eq!(le::u64(b, 0x2d0 + 3 * 20), Some(1 << 20));
    assert_eq!(le::u64(b, 0x2d0 + 3 * 20 + 8), Some(63 << 20));
    assert_eq!(le::u32(b, 0x2d0 + 3 * 20 + 16), Some(1));
    // The tables map the last 2 MiB below 4 GiB one to one.
    let t = written(&p, layout::PAGE_TABLES.0);
    assert_eq!(t.len(), 6 * 4096);
    assert_eq!(le::u64(t, 0), Some(layout::PAGE_TABLES.0 + 0x1003));
    assert_eq!(le::u64(t, t.len() - 8), Some(0xffe0_0083));
}

#[test]
fn a_32_bit_linux_is_entered_flat_with_esi_at_boot_params() {
    let (file, map) = (bzimage(0), map(64 << 20));
    let p = plan(&file, None, &map).unwrap();
    assert_eq!(
        p.entry,
        Entry::Protected {
            eip: 0x100_0000,
            eax: 0,
            ebx: 0,
            esi: layout::BOOT_INFO.0 as u32
        }
    );
    assert_eq!(le::u64(written(&p, layout::GDT.0), 16), Some(CODE32));
}

#[test]
fn a_relocatable_linux_moves_down_in_a_small_machine() {
    let (file, map) = (bzimage(1), map(8 << 20));
    let p = plan(&file, None, &map).unwrap();
    assert!(matches!(p.entry, Entry::Long { rip: 0x20_0200, .. }));
    let small = self::map(4 << 20);
    assert_eq!(
        plan(&file, None, &small).unwrap_err(),
        Error::KernelMemory {
            start: 0x100_0000,
            end: 0x140_0000,
            has: 4 << 20
        }
    );
}

#[test]
fn linux_initrds_stay_below_initrd_addr_max() {
    let mut file = bzimage(1);
    put(&mut file, 0x22c, &0x1ff_ffffu32.to_le_bytes());
    let (map, initrd) = (map(1 << 30), vec![1; 4096]);
    let p = plan(&file, Some(&initrd), &map).unwrap();
    assert_eq!(written(&p, 0x1ff_f000), initrd);
    let huge = vec![0; 0xc0_0001];
    assert_eq!(
        plan(&file, Some(&huge), &map).unwrap_err(),
        Error::Initrd {
            size: 0xc0_0001,
            room: 0xc0_0000
        }
    );
}

#[test]
fn a_pvh_kernel_finds_its_start_info_in_ebx() {
    let (file, map, initrd) = (pvh(), map(16 << 20), vec![3; 100]);
    let p = plan(&file, Some(&initrd), &map).unwrap();
    let ebx = layout::BOOT_INFO.0 as u32;
    assert_eq!(
        p.entry,
        Entry::Protected {
            eip: 0x20_0010,
            eax: 0,
            ebx,
            esi: 0
        }
    );
    assert_eq!(p.zeroes, [(GuestPhys(0x20_0040), 0x1000)]);
    let s = written(&p, layout::BOOT_INFO.0);
    assert_eq!(le::u32(s, 0), Some(0x336e_c578));
    assert_eq!(le::u32(s, 12), Some(1));
    let module = (le::u64(s, 16).unwrap() - layout::BOOT_INFO.0) as usize;
    assert_eq!(le::u64(s, module), Some((16 << 20) - 4096));
    assert_eq!(le::u64(s, module + 8), Some(100));
    let table = (le::u64(s, 40).unwrap() - layout::BOOT_INFO.0) as usize;
    assert_eq!(le::u32(s, 48), Some(map.regions().len() as u32));
    assert_eq!(le::u64(s, table + 3 * 24), Some(1 << 20));
}

#[test]
fn a_flat_multiboot_kernel_gets_its_module_behind_it() {
    let (file, map, initrd) = (flat(), map(16 << 20), vec![9; 10]);
    let p = plan(&file, Some(&initrd), &map).unwrap();
    let Entry::Protected { eip, eax, ebx, .. } = p.entry else {
        panic!("not protected mode")
    };
    assert_eq!((eip, eax), (0x10_0040, 0x2bad_b002));
    assert_eq!(written(&p, 0x10_0000), file);
    assert_eq!(p.zeroes, [(GuestPhys(0x10_0080), 0x20)]);
    assert_eq!(written(&p, 0x10_1000), initrd);
    let line = written(&p, layout::COMMAND_LINE.0);
    assert_eq!(line, b"kernels/k.elf console=ttyS0\0");
    let i = written(&p, ebx.into());
    let at = |address: u32| (address - ebx) as usize;
    assert_eq!(le::u32(i, 4), Some(639));
    assert_eq!(le::u32(i, 8), Some(15 << 10));
    assert_eq!(le::u32(i, 20), Some(1));
    let module = at(le::u32(i, 24).unwrap());
    assert_eq!(le::u32(i, module), Some(0x10_1000));
    assert_eq!(le::u32(i, module + 4), Some(0x10_100a));
    assert_eq!(i[at(le::u32(i, module + 8).unwrap())], 0);
    let table = at(le::u32(i, 48).unwrap());
    assert_eq!(le::u32(i, table), Some(20));
    assert_eq!(le::u32(i, 44), Some(24 * map.regions().len() as u32));
    let name = at(le::u32(i, 64).unwrap());
    assert_eq!(&i[name..name + 6], b"Ferry\0");
}

#[test]
fn a_multiboot_elf_is_entered_at_its_physical_address() {
    let mut data = vec![0xf4; 64];
    put(&mut data, 32, &0x1bad_b002u32.to_le_bytes());
    put(&mut data, 36, &[0; 4]);
    put(&mut data, 40, &0u32.wrapping_sub(0x1bad_b002).to_le_bytes());
    let (file, map) = (elf64(&data, &[]), map(16 << 20));
    let p = plan(&file, None, &map).unwrap();
    assert!(matches!(
        p.entry,
        Entry::Protected {
            eip: 0x20_0010,
            eax: 0x2bad_b002,
            ..
        }
    ));
}

#[test]
fn every_defect_is_refused_by_name() {
    let map = map(16 << 20);
    let refused = |file: &[u8]| plan(file, None, &map).unwrap_err().to_string();
    let edit = |mut file: Vec<u8>, at: usize, bytes: &[u8]| {
        put(&mut file, at, bytes);
        refused(&file)
    };
    let cases = [
        (refused(b""), "the file is empty"),
        (refused(b"\x1f\x8b\x08\0"), "gzip-compressed"),
        (refused(b"#!/bin/sh\n"), "it is a script"),
        (
            refused(b"hello, world"),
            "begins with 68 65 6c 6c 6f 2c 20 77",
        ),
        (refused(&[0; 4096]), "begins with 00 00"),
        (refused(&elf64(&[0; 64], &[])), "neither a PVH note"),
        (
            edit(bzimage(1), 0x206, &[1, 2]),
            "boot protocol 2.01 is too old",
        ),
        (edit(bzimage(1), 0x211, &[0]), "zImage"),
        (
            edit(bzimage(1), 0x1f1, &[200]),
            "cut off: the Linux real-mode code",
        ),
        (
            edit(bzimage(1), 0x230, &[3, 0, 0, 0]),
            "kernel_alignment of 0x3",
        ),
        (edit(bzimage(1), 0x258, &[0; 8]), "pref_address of 0x0"),
        (
            edit(bzimage(1), 0x260, &[0xff; 4]),
            "the kernel needs memory from",
        ),
        (
            edit(bzimage(1), 0x238, &[3, 0, 0, 0]),
            "the command line has 13 bytes; this kernel accepts 3",
        ),
        (refused(&bzimage(1)[..0x240]), "cut off: the Linux"),
        (edit(pvh(), 4, &[9]), "of class 9"),
        (edit(pvh(), 5, &[2]), "big-endian"),
        (edit(pvh(), 16, &[1]), "unlinked object"),
        (edit(pvh(), 18, &[183]), "for aarch64"),
        (edit(pvh(), 56, &[0, 0]), "has 0 program headers"),
        (
            edit(pvh(), 32, &[0xff; 8]),
            "cut off: the ELF program header table",
        ),
        (edit(pvh(), 64 + 8, &[0xff; 8]), "cut off: an ELF segment"),
        (
            edit(pvh(), 64 + 32, &[0xff; 8]),
            "bytes in the file, but only",
        ),
        (edit(pvh(), 64, &[2]), "no loadable segment"),
        (
            edit(pvh(), 64 + 24, &[0, 0, 0xff]),
            "the entry point 0x200010 is not inside",
        ),
        (
            edit(pvh(), 64 + 40, &[0, 0, 0, 0, 9]),
            "the kernel needs memory from 0x200000",
        ),
        (
            edit(flat(), 20, &[8, 0, 1, 0, 0xf6, 0x4f, 0x51, 0xe4]),
            "features 0x8",
        ),
        (
            edit(flat(), 20, &[0, 0, 0, 0, 0xfe, 0x4f, 0x52, 0xe4]),
            "no load addresses",
        ),
        (
            edit(flat(), 28, &[0; 4]),
            "the header stands before load_addr",
        ),
        (
            edit(flat(), 28, &[0, 0, 0x20]),
            "before the start of the file",
        ),
        (
            edit(flat(), 36, &[1]),
            "load_end_addr lies before load_addr",
        ),
        (
            edit(flat(), 36, &[0, 0, 0x20]),
            "cut off: the multiboot kernel",
        ),
        (edit(flat(), 40, &[1, 0, 0x10]), "bss_end_addr lies before"),
        (edit(flat(), 44, &[0, 0, 0x20]), "the entry point 0x200000"),
    ];
    for (got, want) in cases {
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
}

/// Applies what a hostile file does: some bytes changed, then perhaps cut off.
fn damaged(
    base: Vec<u8>,
    edits: &[(prop::sample::Index, u8)],
    cut: Option<prop::sample::Index>,
) -> Vec<u8> {
    let mut file = base;
    for (at, value) in edits {
        // Four fifths of the edits go where the headers are.
        let area = if value % 5 == 0 {
            file.len()
        } else {
            file.len().min(0x280)
        };
        let at = at.index(area);
        file[at] = *value;
    }
    if let Some(cut) = cut {
        file.truncate(cut.index(file.len() + 1));
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn damaged_files_never_panic_and_never_leave_ram(
        which in 0..4usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        initrd in prop::option::of(0..9_000_000usize),
    ) {
        let base = [bzimage(1), bzimage(0), pvh(), flat()][which].clone();
        let file = damaged(base, &edits, cut);
        let (map, initrd) = (map(16 << 20), initrd.map(|n| vec![0; n]));
        if let Ok(p) = plan(&file, initrd.as_deref(), &map) {
            let mut taken: Vec<_> = p.writes.iter().map(|(at, b)| (at.0, at.0 + b.len() as u64)).collect();
            taken.sort_unstable();
            prop_assert!(taken.windows(2).all(|w| w[0].1 <= w[1].0), "overlapping writes {taken:x?}");
            let inside = |&(start, end): &(u64, u64)| end <= layout::EBDA || map.holds(start, end - start);
            prop_assert!(taken.iter().all(inside), "writes outside RAM {taken:x?}");
            prop_assert!(p.zeroes.iter().all(|&(at, size)| map.free(at.0, size)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..4096)) {
        let map = map(16 << 20);
        let _ = plan(&file, None, &map);
    }
}

//! The tables against a golden text, against their checksums, and against Intel's disassembler.

use super::*;
use std::fmt::Write as _;

/// Splits the block into its tables by following the pointers from the root pointer.
fn split(block: &[u8]) -> Vec<(String, Vec<u8>)> {
    let dword = |t: &[u8], at: usize| u32::from_le_bytes(t[at..at + 4].try_into().unwrap());
    let get = |address: u32| {
        let t = &block[address as usize - layout::ACPI_TABLES.0 as usize..];
        let length = dword(t, 4) as usize;
        (
            String::from_utf8_lossy(&t[..4]).into_owned(),
            t[..length].to_vec(),
        )
    };
    let mut found = vec![("RSDP".to_string(), block[..36].to_vec())];
    found.push(get(dword(block, 16)));
    let xsdt = get(dword(block, 24));
    found.push(xsdt.clone());
    for entry in xsdt.1[36..].chunks_exact(8) {
        let (name, t) = get(dword(entry, 0));
        if name == "FACP" {
            found.push(get(dword(&t, 36)));
            found.push(get(dword(&t, 40)));
        }
        found.push((name, t));
    }
    found
}

#[test]
fn tables_are_as_reviewed() {
    let mut text = String::new();
    for (name, t) in split(&tables(1, 1 << 30)) {
        writeln!(text, "{name} ({} bytes)", t.len()).unwrap();
        for (i, line) in t.chunks(16).enumerate() {
            let hex: Vec<_> = line.iter().map(|b| format!("{b:02x}")).collect();
            let show = |b: &u8| {
                if (0x20..0x7f).contains(b) {
                    *b as char
                } else {
                    '.'
                }
            };
            let shown: String = line.iter().map(show).collect();
            writeln!(text, "  {:04x}  {:<47}  {shown}", 16 * i, hex.join(" ")).unwrap();
        }
    }
    insta::assert_snapshot!("tables", text);
}

#[test]
fn every_table_sums_to_zero_and_fits() {
    for cpus in [1, 2, 64] {
        let block = tables(cpus, 1 << 30);
        assert!(layout::ACPI_TABLES.0 + block.len() as u64 <= layout::FIRMWARE_END);
        for (name, t) in split(&block) {
            let sum = t.iter().fold(0u8, |s, b| s.wrapping_add(*b));
            // The FACS has no checksum (5.2.10).
            assert!(sum == 0 || name == "FACS", "{name}");
        }
    }
}

#[test]
fn intels_disassembler_reads_every_table() {
    // Under qemu-user a program that is missing is one that ends with an error.
    let version = std::process::Command::new("iasl").arg("-v").output();
    if !version.is_ok_and(|v| v.status.success()) {
        eprintln!("skipped: iasl (Debian: acpica-tools) is not installed");
        return;
    }
    let dir = std::env::temp_dir().join(format!("ferry-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, t) in split(&tables(2, 4 << 30)) {
        if name == "RSDP" {
            continue;
        }
        let file = dir.join(format!("{name}.aml"));
        std::fs::write(&file, t).unwrap();
        let run = |args: &[&str], file: &std::path::Path| {
            let out = std::process::Command::new("iasl")
                .args(args)
                .arg(file)
                .output()
                .unwrap();
            let text = [out.stdout, out.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(out.status.success(), "{name}: {text}");
            for bad in ["rror:", "Invalid", "Unknown", "Warning  "] {
                assert!(!text.contains(bad), "{name}: {text}");
            }
        };
        run(&["-d"], &file);
        if name == "DSDT" {
            // What was disassembled compiles again without errors or warnings.
            run(&["-we"], &file.with_extension("dsl"));
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Does what firmware does: places the files and obeys the script.
fn link(l: &Linked, tables_at: u32) -> Vec<u8> {
    let mut files = [
        (RSDP_FILE, 0u32, l.rsdp.clone()),
        (TABLES_FILE, tables_at, l.tables.clone()),
    ];
    let dword = |b: &[u8]| u32::from_le_bytes(b[..4].try_into().unwrap());
    let name = |b: &[u8]| {
        String::from_utf8_lossy(&b[..56])
            .trim_end_matches('\0')
            .to_owned()
    };
    let find =
        |files: &[(&str, u32, Vec<u8>)], n: &str| files.iter().position(|f| f.0 == n).unwrap();
    for c in l.loader.chunks_exact(128) {
        let first = find(&files, &name(&c[4..]));
        match dword(c) {
            1 => assert!(dword(&c[60..]).is_power_of_two() && matches!(c[64], 1 | 2)),
            2 => {
                let base = files[find(&files, &name(&c[60..]))].1;
                let (at, size) = (dword(&c[116..]) as usize, usize::from(c[120]));
                let field = &mut files[first].2[at..at + size];
                let value = dword(field) + base;
                field[..4].copy_from_slice(&value.to_le_bytes());
            }
            3 => {
                let [at, start, len] = [60, 64, 68].map(|o| dword(&c[o..]) as usize);
                let file = &mut files[first].2;
                let sum = file[start..start + len]
                    .iter()
                    .fold(0u8, |s, b| s.wrapping_add(*b));
                file[at] = file[at].wrapping_sub(sum);
            }
            other => panic!("command {other}"),
        }
    }
    let [rsdp, tables] = files.map(|f| f.2);
    let mut all = rsdp;
    all.resize(64, 0);
    all.extend(tables);
    all
}

#[test]
fn firmware_links_the_same_tables() {
    let base = layout::ACPI_TABLES.0 as u32;
    let block = link(&linked(1, 1 << 30, crate::Vga::Absent), base + 64);
    let (linked, direct) = (split(&block), split(&tables(1, 1 << 30)));
    assert_eq!(linked.len(), direct.len());
    for ((name, t), (want_name, want)) in linked.iter().zip(&direct) {
        assert_eq!((name, t.len()), (want_name, want.len()));
        let sum = t.iter().fold(0u8, |s, b| s.wrapping_add(*b));
        assert!(sum == 0 || name == "FACS", "{name}");
    }
}

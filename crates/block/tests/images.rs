//! Images of every format: what is written is read, by several threads too; what is broken is refused or fails, without a panic.

mod common;
mod formats;

use block::manage::{self, Shrink};
use block::{Access, Cache, Disk, Error, Format, Image, Options, Persistence, Space, open, probe};
use common::{Random, qemu_img};
use formats::{value, vhdx, vhdx_sums, vmdk};
use std::path::Path;
use std::sync::mpsc::channel;

const MIB: u64 = 1 << 20;

fn read_only() -> Options {
    Options {
        access: Access::ReadOnly,
        ..Options::default()
    }
}

/// Random writes, zeroes and discards against a plain array.
fn exercise(image: &dyn Image, model: &mut [u8], seed: u64, rounds: usize) {
    let mut r = Random::new(seed);
    let mut buffer = Vec::new();
    for _ in 0..rounds {
        let sectors = model.len() as u64 / 512;
        let at = r.below(sectors) * 512;
        let bytes = ((1 + r.below(300)) * 512).min(model.len() as u64 - at);
        let range = at as usize..(at + bytes) as usize;
        match r.below(10) {
            0 => {
                image.zero(at, bytes, Space::Keep).unwrap();
                model[range].fill(0);
            }
            1 => {
                image.zero(at, bytes, Space::Free).unwrap();
                model[range].fill(0);
            }
            2 => {
                image.discard(at, bytes).unwrap();
                // Its content is anything: make it known.
                image.write(at, &vec![7; bytes as usize]).unwrap();
                model[range].fill(7);
            }
            3 => image.flush().unwrap(),
            4..7 => {
                buffer.resize(bytes as usize, 0xee);
                image.read(at, &mut buffer).unwrap();
                assert!(buffer == model[range], "at {at:#x} (+{bytes:#x})");
            }
            _ => {
                let data: Vec<u8> = (0..bytes).map(|_| r.next() as u8).collect();
                image.write(at, &data).unwrap();
                model[range].copy_from_slice(&data);
            }
        }
        buffer.clear();
    }
    let mut all = vec![1; model.len()];
    image.read(0, &mut all).unwrap();
    assert!(all == model, "the whole disk");
}

#[test]
fn every_writable_format_keeps_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (name, format) in [("a.raw", Format::Raw), ("a.qcow2", Format::Qcow2)] {
        for cache in [Cache::Writeback, Cache::None] {
            let path = dir.path().join(format!("{cache:?}-{name}"));
            manage::create(&path, format, Some(8 * MIB), None).unwrap();
            assert_eq!(probe(&path).unwrap(), format);
            let mut model = vec![0; 8 << 20];
            let options = Options {
                cache,
                ..Options::default()
            };
            let image = match open(&path, &options) {
                Ok(image) => image,
                // Not every file system has direct I/O.
                Err(Error::Open { .. }) if cache == Cache::None => continue,
                Err(e) => panic!("{e}"),
            };
            exercise(&*image, &mut model, 1, 400);
            image.flush().unwrap();
            drop(image);
            let image = open(&path, &read_only()).unwrap();
            let mut all = vec![1; model.len()];
            image.read(0, &mut all).unwrap();
            assert!(all == model, "{name} after closing");
            assert!(image.write(0, &[0; 512]).is_err());
            drop(image);
            if format == Format::Qcow2 {
                let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
                assert_eq!((report.errors, report.leaked), (0, 0), "{report:?}");
                qemu_img(&["check", path.to_str().unwrap()]);
            }
        }
    }
}

#[test]
fn backing_files_show_through_and_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    manage::create(&at("base.raw"), Format::Raw, Some(4 * MIB), None).unwrap();
    let mut model = vec![0; 4 << 20];
    exercise(
        &*open(&at("base.raw"), &Options::default()).unwrap(),
        &mut model,
        2,
        100,
    );
    let base = std::fs::read(at("base.raw")).unwrap();
    manage::snapshot(&at("base.raw"), &at("mid.qcow2"), None).unwrap();
    manage::snapshot(&at("mid.qcow2"), &at("top.qcow2"), None).unwrap();
    let info = manage::info(&at("top.qcow2"), None).unwrap();
    assert_eq!(info.backing.as_deref(), Some("mid.qcow2"));
    assert_eq!(info.backing_format.as_deref(), Some("qcow2"));
    let top = open(&at("top.qcow2"), &Options::default()).unwrap();
    exercise(&*top, &mut model, 3, 200);
    // The chain is locked.
    let e = open(&at("base.raw"), &Options::default())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(e, Error::Locked { .. }), "{e}");
    drop(top);
    assert!(std::fs::read(at("base.raw")).unwrap() == base);
    manage::convert(
        &at("top.qcow2"),
        None,
        &at("flat.raw"),
        Format::Raw,
        |_, _| (),
    )
    .unwrap();
    assert!(std::fs::read(at("flat.raw")).unwrap() == model);
}

#[test]
fn a_chain_that_bites_its_tail_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    manage::create(&at("a.qcow2"), Format::Qcow2, Some(MIB), None).unwrap();
    manage::snapshot(&at("a.qcow2"), &at("b.qcow2"), None).unwrap();
    std::fs::remove_file(at("a.qcow2")).unwrap();
    std::fs::rename(at("b.qcow2"), at("a.qcow2")).unwrap();
    let e = open(&at("a.qcow2"), &read_only())
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(e.contains("circle"), "{e}");
}

#[test]
fn snapshot_on_leaves_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.qcow2");
    manage::create(&path, Format::Qcow2, Some(3 * MIB + 512), None).unwrap();
    let mut model = vec![0; (3 << 20) + 512];
    exercise(
        &*open(&path, &Options::default()).unwrap(),
        &mut model,
        4,
        100,
    );
    let before = std::fs::read(&path).unwrap();
    let dropped = Options {
        persistence: Persistence::Dropped,
        ..Options::default()
    };
    let one = open(&path, &dropped).unwrap();
    let two = open(&path, &dropped).unwrap();
    exercise(&*one, &mut model.clone(), 5, 300);
    exercise(&*two, &mut model.clone(), 6, 300);
    drop((one, two));
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn threads_work_on_one_image_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Raw, Format::Qcow2] {
        let path = dir.path().join(format!("t.{format}"));
        manage::create(&path, format, Some(16 * MIB), None).unwrap();
        let disk = Disk::new(open(&path, &Options::default()).unwrap(), "").unwrap();
        let (done, finished) = channel();
        for n in 0..512u64 {
            let done = done.clone();
            disk.submit(Box::new(move |image, buffer| {
                let mut r = Random::new(n);
                let at = n * 32768;
                buffer.clear();
                buffer.resize(32768, n as u8);
                let ok = image.write(at, buffer).and_then(|()| match r.below(4) {
                    0 => image.flush(),
                    1 => image.discard(at, 0),
                    _ => Ok(()),
                });
                buffer.fill(0);
                let ok = ok.and_then(|()| image.read(at, buffer)).is_ok();
                done.send(ok && buffer.iter().all(|&b| b == n as u8))
                    .unwrap();
            }));
        }
        disk.drain();
        assert!((0..512).all(|_| finished.recv().unwrap()), "{format}");
        drop(disk);
        if format == Format::Qcow2 {
            let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
            assert_eq!((report.errors, report.leaked), (0, 0), "{report:?}");
        }
    }
}

#[test]
fn two_writers_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.raw");
    manage::create(&path, Format::Raw, Some(MIB), None).unwrap();
    let writer = open(&path, &Options::default()).unwrap();
    for options in [Options::default(), read_only()] {
        let e = open(&path, &options).map(|_| ()).unwrap_err();
        assert!(e.to_string().contains("in use by another machine"), "{e}");
    }
    drop(writer);
    let _one = open(&path, &read_only()).unwrap();
    let _two = open(&path, &read_only()).unwrap();
    assert!(matches!(
        open(&path, &Options::default()),
        Err(Error::Locked { .. })
    ));
}

#[test]
fn disks_change_their_size() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Raw, Format::Qcow2] {
        let path = dir.path().join(format!("r.{format}"));
        manage::create(&path, format, Some(4 * MIB), None).unwrap();
        let mut model = vec![0; 4 << 20];
        exercise(
            &*open(&path, &Options::default()).unwrap(),
            &mut model,
            8,
            100,
        );
        manage::resize(&path, None, 6 * MIB, Shrink::Refused).unwrap();
        model.resize(6 << 20, 0);
        exercise(
            &*open(&path, &Options::default()).unwrap(),
            &mut model,
            9,
            100,
        );
        assert!(manage::resize(&path, None, MIB, Shrink::Refused).is_err());
        manage::resize(&path, None, MIB, Shrink::Allowed).unwrap();
        model.truncate(1 << 20);
        exercise(
            &*open(&path, &Options::default()).unwrap(),
            &mut model,
            10,
            100,
        );
    }
    let e = manage::create(&dir.path().join("x"), Format::Raw, Some(5), None).unwrap_err();
    assert!(e.to_string().contains("multiples of 512"), "{e}");
    let e = manage::create(&dir.path().join("x"), Format::Vmdk, Some(MIB), None).unwrap_err();
    assert!(
        e.to_string().contains("vmdk images cannot be written"),
        "{e}"
    );
}

#[test]
fn leaked_clusters_are_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.qcow2");
    manage::create(&path, Format::Qcow2, Some(4 * MIB), None).unwrap();
    let mut model = vec![0; 4 << 20];
    exercise(
        &*open(&path, &Options::default()).unwrap(),
        &mut model,
        12,
        20,
    );
    // A cluster at the end that is counted and not used, as a killed writer leaves it.
    let mut bytes = std::fs::read(&path).unwrap();
    let cluster = bytes.len().div_ceil(65536);
    bytes.resize((cluster + 1) * 65536, 0xaa);
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(bytes[table..table + 8].try_into().unwrap()) as usize;
    bytes[block + 2 * cluster + 1] = 1;
    std::fs::write(&path, bytes).unwrap();
    let leaked = |path: &Path| block::qcow2_check::check(path, |_, _| ()).unwrap().leaked;
    assert_eq!(leaked(&path), 1);
    drop(open(&path, &read_only()).unwrap());
    assert_eq!(leaked(&path), 1, "a reader changes nothing");
    drop(open(&path, &Options::default()).unwrap());
    assert_eq!(leaked(&path), 0, "a writer takes it back");
    qemu_img(&["check", path.to_str().unwrap()]);
    // The disk is what it was.
    let image = open(&path, &Options::default()).unwrap();
    exercise(&*image, &mut model, 13, 20);
    drop(image);
    let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
    assert_eq!(report.errors, 0, "{report:?}");
}

/// A disk with holes, as other formats' test images hold it.
fn sample(bytes: usize) -> Vec<u8> {
    let mut r = Random::new(77);
    let mut disk = vec![0; bytes];
    for part in disk.chunks_mut(32768) {
        match r.below(3) {
            0 => {}
            1 => part.fill(r.next() as u8),
            _ => part.iter_mut().for_each(|b| *b = r.next() as u8),
        }
    }
    disk
}

fn holds(path: &Path, want: &[u8], what: &str) {
    let image = open(path, &read_only()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(image.size(), want.len() as u64, "{what}");
    let mut got = vec![9; want.len()];
    for (n, part) in got.chunks_mut(100_000).enumerate() {
        image.read(n as u64 * 100_000, part).unwrap();
    }
    assert!(got == want, "{what}");
}

#[test]
fn vmdk_and_vhdx_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let disk = sample(5 << 20);
    for (name, bytes) in [
        ("s.vmdk", vmdk(&disk, false)),
        ("z.vmdk", vmdk(&disk, true)),
        ("d.vhdx", vhdx(&disk)),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        holds(&path, &disk, name);
        let e = open(&path, &Options::default()).map(|_| ()).unwrap_err();
        assert!(e.to_string().contains("cannot be written"), "{e}");
        let dropped = Options {
            persistence: Persistence::Dropped,
            ..Options::default()
        };
        exercise(&*open(&path, &dropped).unwrap(), &mut disk.clone(), 11, 50);
    }
    std::fs::write(dir.path().join("flat.bin"), &disk).unwrap();
    let sectors = disk.len() / 512;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType=\"custom\"\nRW {} FLAT \"flat.bin\" 0\nRW {} FLAT \"flat.bin\" \
         100\nRW 8 ZERO\n",
        100,
        sectors - 100
    );
    let path = dir.path().join("d.vmdk");
    std::fs::write(&path, text).unwrap();
    let mut want = disk.clone();
    want.resize(disk.len() + 8 * 512, 0);
    holds(&path, &want, "flat");
}

#[test]
fn what_qemu_img_writes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("in.raw");
    let disk = sample(5 << 20);
    std::fs::write(&raw, &disk).unwrap();
    for (format, options) in [
        ("qcow2", "compat=0.10"),
        ("qcow2", "cluster_size=4096"),
        ("qcow2", ""),
        ("vmdk", "subformat=monolithicSparse"),
        ("vmdk", "subformat=monolithicFlat"),
        ("vmdk", "subformat=twoGbMaxExtentSparse"),
        ("vmdk", "subformat=streamOptimized"),
        ("vhdx", "subformat=dynamic"),
        ("vhdx", "subformat=fixed"),
    ] {
        let path = dir
            .path()
            .join(format!("q{}.{format}", options.replace('=', "-")));
        let mut args = vec!["convert", "-O", format];
        if !options.is_empty() {
            args.extend(["-o", options]);
        } else {
            args.push("-c");
        }
        args.extend([raw.to_str().unwrap(), path.to_str().unwrap()]);
        if !qemu_img(&args) {
            return;
        }
        holds(&path, &disk, &format!("{format} {options}"));
        if format == "qcow2" {
            let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
            assert_eq!((report.errors, report.leaked), (0, 0), "{report:?}");
        }
    }
}

/// Opens a damaged image and uses it: whatever happens, no panic and no hang.
fn use_damaged(path: &Path, format: Format) {
    let options = Options {
        format: Some(format),
        access: Access::ReadOnly,
        ..Options::default()
    };
    if let Ok(image) = open(path, &options) {
        let mut buffer = vec![0; 1 << 20];
        for at in (0..image.size().min(8 << 20)).step_by(1 << 20) {
            let n = (image.size() - at).min(1 << 20) as usize;
            let _ = image.read(at, &mut buffer[..n]);
        }
    } else {
        let e = open(path, &options).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains(path.parent().unwrap().to_str().unwrap()), "{e}");
    }
    if format.writable() {
        let options = Options {
            format: Some(format),
            ..Options::default()
        };
        if let Ok(image) = open(path, &options) {
            for at in (0..image.size().min(1 << 20)).step_by(200 << 10) {
                let _ = image.write(at, &[3; 512]);
                let _ = image.discard(at, 512);
            }
            let _ = image.flush();
        }
        let _ = manage::info(path, Some(format));
        if format == Format::Qcow2 {
            let _ = block::qcow2_check::check(path, |_, _| ());
        }
    }
}

#[test]
fn damaged_images_end_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let disk = sample(2 << 20);
    let qcow2 = {
        let path = dir.path().join("g.qcow2");
        manage::create(&path, Format::Qcow2, Some(disk.len() as u64), None).unwrap();
        open(&path, &Options::default())
            .unwrap()
            .write(0, &disk)
            .unwrap();
        std::fs::read(&path).unwrap()
    };
    let descriptor = b"# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\nRW 4096 FLAT \"f.bin\" 0\nRW 8 ZERO\n".to_vec();
    std::fs::write(dir.path().join("f.bin"), &disk).unwrap();
    let cases = [
        (Format::Qcow2, qcow2),
        (Format::Vmdk, vmdk(&disk, false)),
        (Format::Vmdk, vmdk(&disk, true)),
        (Format::Vmdk, descriptor),
        (Format::Vhdx, vhdx(&disk)),
        (Format::Raw, disk[..65536].to_vec()),
    ];
    for (format, good) in cases {
        let mut r = Random::new(format as u64 + good.len() as u64);
        for round in 0..250 {
            let mut bad = good.clone();
            match round % 5 {
                // Cut off.
                0 => bad.truncate(r.below(good.len() as u64) as usize),
                // A field of the structures at the start.
                1 | 2 => {
                    let at = r.below(bad.len().min(512) as u64) as usize;
                    let value = value(&mut r).to_be_bytes();
                    let n = bad.len() - at;
                    bad[at..at + n.min(8)].copy_from_slice(&value[..n.min(8)]);
                }
                // Bytes anywhere before the data.
                3 => {
                    for _ in 0..16 {
                        let at = r.below(bad.len().min(640 << 10) as u64) as usize;
                        bad[at] = r.next() as u8;
                    }
                }
                // A quadword in one of the tables.
                _ => {
                    let at = (r.below(bad.len() as u64 / 8) * 8) as usize;
                    let value = value(&mut r).to_be_bytes();
                    bad[at..at + 8].copy_from_slice(&value);
                }
            }
            if format == Format::Vhdx && round % 2 == 0 {
                vhdx_sums(&mut bad);
            }
            let path = dir.path().join(format!("bad.{format}"));
            std::fs::write(&path, &bad).unwrap();
            use_damaged(&path, format);
        }
    }
}

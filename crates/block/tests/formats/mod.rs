//! Writers of the formats that the crate only reads.

use crate::common::Random;
use std::io::Write;

/// Numbers of all magnitudes.
pub fn value(r: &mut Random) -> u64 {
    match r.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << r.below(64),
        _ => r.next() >> r.below(64),
    }
}

fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A sparse VMDK of `disk`, of 64 KiB grains, deflated or not.
pub fn vmdk(disk: &[u8], deflated: bool) -> Vec<u8> {
    const GRAIN: usize = 128 * 512;
    let grains = disk.len().div_ceil(GRAIN);
    let tables = grains.div_ceil(512);
    let text = b"# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\nRW 1 SPARSE \"x\"\n";
    let mut image = Vec::new();
    let flags: u32 = if deflated { 3 << 16 | 1 } else { 3 };
    put(&mut image, 0, b"KDMV");
    put(&mut image, 4, &1u32.to_le_bytes());
    put(&mut image, 8, &flags.to_le_bytes());
    put(&mut image, 12, &(disk.len() as u64 / 512).to_le_bytes());
    put(&mut image, 20, &128u64.to_le_bytes());
    put(&mut image, 28, &1u64.to_le_bytes());
    put(&mut image, 36, &1u64.to_le_bytes());
    put(&mut image, 44, &512u32.to_le_bytes());
    put(&mut image, 56, &2u64.to_le_bytes());
    put(&mut image, 77, &u16::from(deflated).to_le_bytes());
    put(&mut image, 512, text);
    let mut next = 4096 + tables * 2048;
    for t in 0..tables {
        put(
            &mut image,
            1024 + 4 * t,
            &((8 + 4 * t) as u32).to_le_bytes(),
        );
    }
    for (n, grain) in disk.chunks(GRAIN).enumerate() {
        if grain.iter().all(|&b| b == 0) {
            continue;
        }
        put(
            &mut image,
            4096 + 4 * n,
            &((next / 512) as u32).to_le_bytes(),
        );
        let stored = match deflated {
            true => {
                let mut z =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                z.write_all(grain).unwrap();
                let z = z.finish().unwrap();
                let mut stored = (n as u64 * 128).to_le_bytes().to_vec();
                stored.extend((z.len() as u32).to_le_bytes());
                stored.extend(z);
                stored
            }
            false => grain.to_vec(),
        };
        put(&mut image, next, &stored);
        next = image.len().next_multiple_of(512);
    }
    image.resize(next, 0);
    image
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| {
            c >> 1 ^ if c & 1 != 0 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// Makes the checksums of headers and region tables right.
pub fn vhdx_sums(image: &mut [u8]) {
    for (at, bytes) in [
        (64 << 10, 4096),
        (128 << 10, 4096),
        (192 << 10, 65536),
        (256 << 10, 65536),
    ] {
        if let Some(part) = image.get_mut(at..at + bytes) {
            part[4..8].fill(0);
            let sum = crc32c(part);
            part[4..8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// A dynamic VHDX of `disk`, of 1 MiB blocks.
pub fn vhdx(disk: &[u8]) -> Vec<u8> {
    const MIB: usize = 1 << 20;
    // The first three parts are little-endian numbers.
    let guid = |text: &str| -> Vec<u8> {
        let bytes = |part: &str| -> Vec<u8> {
            let digits = |i: usize| u8::from_str_radix(&part[2 * i..2 * i + 2], 16).unwrap();
            (0..part.len() / 2).map(digits).collect()
        };
        text.split('-')
            .enumerate()
            .flat_map(|(n, part)| {
                let mut bytes = bytes(part);
                if n < 3 {
                    bytes.reverse();
                }
                bytes
            })
            .collect()
    };
    let mut image = Vec::new();
    put(&mut image, 0, b"vhdxfile");
    for (at, sequence) in [(64 << 10, 1u64), (128 << 10, 2)] {
        put(&mut image, at, b"head");
        put(&mut image, at + 8, &sequence.to_le_bytes());
        put(&mut image, at + 66, &1u16.to_le_bytes());
        put(&mut image, at + 4095, &[0]);
    }
    for at in [192 << 10, 256 << 10] {
        put(&mut image, at, b"regi");
        put(&mut image, at + 8, &2u32.to_le_bytes());
        for (n, (id, place)) in [
            ("2DC27766-F623-4200-9D64-115E9BFD4A08", 2 * MIB),
            ("8B7CA206-4790-4B9A-B8FE-575F050F886E", MIB),
        ]
        .into_iter()
        .enumerate()
        {
            let entry = at + 16 + 32 * n;
            put(&mut image, entry, &guid(id));
            put(&mut image, entry + 16, &(place as u64).to_le_bytes());
            put(&mut image, entry + 24, &(MIB as u32).to_le_bytes());
            put(&mut image, entry + 28, &1u32.to_le_bytes());
        }
        put(&mut image, at + 65535, &[0]);
    }
    put(&mut image, MIB, b"metadata");
    put(&mut image, MIB + 10, &3u16.to_le_bytes());
    let items: [(&str, Vec<u8>); 3] = [
        ("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", {
            let mut v = (MIB as u32).to_le_bytes().to_vec();
            v.extend([0; 4]);
            v
        }),
        (
            "2FA54224-CD1B-4876-B211-5DBED83BF4B8",
            (disk.len() as u64).to_le_bytes().to_vec(),
        ),
        (
            "8141BF1D-A96F-4709-BA47-F233A8FAAB5F",
            512u32.to_le_bytes().to_vec(),
        ),
    ];
    for (n, (id, value)) in items.iter().enumerate() {
        let entry = MIB + 32 + 32 * n;
        let place = 65536 + 16 * n;
        put(&mut image, entry, &guid(id));
        put(&mut image, entry + 16, &(place as u32).to_le_bytes());
        put(&mut image, entry + 20, &(value.len() as u32).to_le_bytes());
        put(&mut image, MIB + place, value);
    }
    let mut next = 3 * MIB;
    image.resize(next, 0);
    for (n, part) in disk.chunks(MIB).enumerate() {
        if part.iter().all(|&b| b == 0) {
            continue;
        }
        put(
            &mut image,
            2 * MIB + 8 * n,
            &(next as u64 | 6).to_le_bytes(),
        );
        put(&mut image, next, part);
        next += MIB;
        image.resize(next, 0);
    }
    vhdx_sums(&mut image);
    image
}

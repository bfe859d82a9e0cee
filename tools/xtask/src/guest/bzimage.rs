//! Cuts the uncompressed kernel (`vmlinux`, an ELF file) out of a bzImage.
//!
//! The fields are those of the Linux/x86 boot protocol (`Documentation/arch/x86/boot.rst`): `setup_sects` (0x1F1),
//! the magic `HdrS` (0x202), `payload_offset` (0x248) and `payload_length` (0x24C).

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

/// The ELF file inside the bzImage `image`.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    let payload =
        payload(image).context("not a bzImage with a payload (boot protocol 2.08 or later)")?;
    let elf = decompress(payload)?;
    ensure!(
        elf.starts_with(b"\x7fELF"),
        "the kernel's payload is not an ELF file"
    );
    Ok(elf)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let long = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    // A count of 0 means 4, for the sake of very old boot loaders.
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        count => usize::from(count),
    };
    let start = (sectors + 1) * 512 + usize::try_from(long(0x248)?).ok()?;
    let length = usize::try_from(long(0x24c)?).ok()?;
    image.get(start..start.checked_add(length)?)
}

/// The kernel's build appends the unpacked size as 4 bytes; every decoder here stops before them.
fn decompress(payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match payload {
        [0x1f, 0x8b, ..] => {
            flate2::read::GzDecoder::new(payload).read_to_end(&mut out)?;
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            lzma_rust2::XzReader::new(payload, false).read_to_end(&mut out)?;
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            ruzstd::decoding::StreamingDecoder::new(payload)?.read_to_end(&mut out)?;
        }
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => out = lz4_legacy(blocks)?,
        [0x7f, b'E', b'L', b'F', ..] => out = payload.to_vec(),
        other => bail!(
            "the kernel is packed in a way that is not known here (it begins with {:02x?})",
            &other[..other.len().min(6)]
        ),
    }
    Ok(out)
}

/// The legacy LZ4 frame (`lz4 -l`): a 4-byte length before each block, every block but the last unpacks to 8 MiB.
fn lz4_legacy(mut rest: &[u8]) -> Result<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let mut out = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*head))?;
        let Some(block) = tail.get(..length) else {
            break; // the appended size, not a block
        };
        out.extend_from_slice(&lz4_flex::block::decompress(block, BLOCK)?);
        rest = &tail[length..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage around `payload`, with the 4 bytes of size that the kernel's build appends.
    fn image(payload: &[u8], size: usize) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250]
            .copy_from_slice(&u32::try_from(payload.len() + 4).unwrap().to_le_bytes());
        image.extend_from_slice(&[0xee; 16]);
        image.extend_from_slice(payload);
        image.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        image
    }

    #[test]
    fn lz4_and_gzip_payloads_unpack() {
        let mut elf = b"\x7fELF".to_vec();
        elf.extend((0..9_000_000u32).map(|i| (i / 7) as u8));
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        for block in elf.chunks(8 << 20) {
            let packed = lz4_flex::block::compress(block);
            lz4.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            lz4.extend(packed);
        }
        assert!(vmlinux(&image(&lz4, elf.len())).unwrap() == elf);

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &elf).unwrap();
        assert!(vmlinux(&image(&gzip.finish().unwrap(), elf.len())).unwrap() == elf);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(vmlinux(b"MZ").is_err());
        assert!(vmlinux(&image(b"unknown packing", 0)).is_err());
        let mut cut = image(b"\x1f\x8b", 0);
        cut.truncate(1030);
        assert!(vmlinux(&cut).is_err());
    }
}

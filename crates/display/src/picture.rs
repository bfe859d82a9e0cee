//! Pictures as PNG files.

use devices::vga::Frame;

/// The frame as the bytes of a PNG file. An empty frame gives a picture of one black pixel: PNG has no smaller one.
pub fn png(frame: &Frame) -> Vec<u8> {
    let one = Frame::black(1, 1);
    let frame = match frame.pixels.is_empty() {
        true => &one,
        false => frame,
    };
    encode(frame.width, frame.height, &frame.rgb())
}

/// `width` by `height` pixels of red, green and blue.
pub(crate) fn encode(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    // Writing to memory fails only if the sizes disagree: then there is no picture.
    let written = encoder
        .write_header()
        .and_then(|mut w| w.write_image_data(rgb));
    if written.is_err() {
        return Vec::new();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut f = Frame::black(3, 2);
        f.pixels[4] = 0x12_3456;
        let bytes = png(&f);
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let mut reader = decoder.read_info().unwrap();
        let mut out = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut out).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(out[12..15], [0x12, 0x34, 0x56]);
        assert!(!png(&Frame::default()).is_empty());
    }
}

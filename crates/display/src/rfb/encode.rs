//! Pixel formats and encodings (RFC 6143, 7.4 and 7.7).

use crate::tiles::{Rect, TILE, pixels};
use devices::vga::Frame;
use flate2::{Compress, Compression, FlushCompress, Status};

/// How a client wants its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelFormat {
    /// 1, 2 or 4.
    bytes: usize,
    depth: u8,
    big_endian: bool,
    max: [u16; 3],
    shift: [u8; 3],
}

impl PixelFormat {
    /// What the server proposes: 0x00RRGGBB, little-endian.
    pub(crate) const NATIVE: Self = Self {
        bytes: 4,
        depth: 24,
        big_endian: false,
        max: [255; 3],
        shift: [16, 8, 0],
    };

    /// PIXEL_FORMAT; `None` if it cannot be had: colour maps, or shifts out of range.
    pub(crate) fn parse(p: &[u8; 16]) -> Option<Self> {
        let [
            bits,
            depth,
            big_endian,
            true_color,
            r1,
            r0,
            g1,
            g0,
            b1,
            b0,
            rs,
            gs,
            bs,
            ..,
        ] = *p;
        let word = |h, l| u16::from_be_bytes([h, l]);
        let f = Self {
            bytes: match bits {
                8 => 1,
                16 => 2,
                32 => 4,
                _ => return None,
            },
            depth,
            big_endian: big_endian != 0,
            max: [word(r1, r0), word(g1, g0), word(b1, b0)],
            shift: [rs, gs, bs],
        };
        (true_color != 0 && f.shift.iter().all(|&s| s < bits)).then_some(f)
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        let mut b = [0; 16];
        b[0] = 8 * self.bytes as u8;
        b[1] = self.depth;
        b[2] = self.big_endian.into();
        b[3] = 1;
        for (n, max) in self.max.iter().enumerate() {
            b[4 + 2 * n..6 + 2 * n].copy_from_slice(&max.to_be_bytes());
        }
        b[10..13].copy_from_slice(&self.shift);
        b
    }

    fn value(&self, pixel: u32) -> u32 {
        if *self == Self::NATIVE {
            return pixel;
        }
        let [_, r, g, b] = pixel.to_be_bytes();
        [r, g, b].into_iter().enumerate().fold(0, |v, (n, c)| {
            let scaled = (u32::from(c) * u32::from(self.max[n]) + 127) / 255;
            v | scaled.wrapping_shl(self.shift[n].into())
        })
    }

    /// A pixel's bytes.
    fn put(&self, pixel: u32, out: &mut Vec<u8>) {
        let v = self.value(pixel);
        match (self.bytes, self.big_endian) {
            (1, _) => out.push(v as u8),
            (2, false) => out.extend((v as u16).to_le_bytes()),
            (2, true) => out.extend((v as u16).to_be_bytes()),
            (_, false) => out.extend(v.to_le_bytes()),
            (_, true) => out.extend(v.to_be_bytes()),
        }
    }

    /// Which bytes of a pixel a CPIXEL has (7.7.5).
    fn compact(&self) -> std::ops::Range<usize> {
        let used = (0..3).fold(0u64, |v, n| v | u64::from(self.max[n]) << self.shift[n]);
        if self.bytes != 4 || self.depth > 24 {
            return 0..self.bytes;
        }
        match (used, self.big_endian) {
            (..=0xff_ffff, false) => 0..3,
            (..=0xff_ffff, true) => 1..4,
            (u, false) if u & 0xff == 0 && u >> 32 == 0 => 1..4,
            (u, true) if u & 0xff == 0 && u >> 32 == 0 => 0..3,
            _ => 0..4,
        }
    }

    fn put_compact(&self, pixel: u32, out: &mut Vec<u8>) {
        let at = out.len();
        self.put(pixel, out);
        let c = self.compact();
        if c.start > 0 {
            out.drain(at..at + c.start);
        }
        out.truncate(at + c.len());
    }
}

/// Raw (7.7.1).
pub(crate) fn raw(frame: &Frame, r: Rect, format: &PixelFormat, out: &mut Vec<u8>) {
    out.reserve(r.width as usize * r.height as usize * format.bytes);
    for p in pixels(frame, r) {
        format.put(p, out);
    }
}

/// ZRLE (7.7.6): one zlib stream for the connection.
pub(crate) struct Zrle {
    zlib: Compress,
    plain: Vec<u8>,
}

/// Colours of a tile's palette at most.
const PALETTE: usize = 16;

impl Default for Zrle {
    fn default() -> Self {
        Self {
            zlib: Compress::new(Compression::fast(), true),
            plain: Vec::new(),
        }
    }
}

impl Zrle {
    pub(crate) fn encode(&mut self, frame: &Frame, r: Rect, f: &PixelFormat, out: &mut Vec<u8>) {
        self.plain.clear();
        for y in (r.y..r.y + r.height).step_by(TILE as usize) {
            for x in (r.x..r.x + r.width).step_by(TILE as usize) {
                let part = Rect {
                    x,
                    y,
                    width: TILE.min(r.x + r.width - x),
                    height: TILE.min(r.y + r.height - y),
                };
                tile(frame, part, f, &mut self.plain);
            }
        }
        let at = out.len();
        out.extend([0; 4]);
        self.deflate(out);
        let len = (out.len() - at - 4) as u32;
        if let Some(head) = out.get_mut(at..at + 4) {
            head.copy_from_slice(&len.to_be_bytes());
        }
    }

    fn deflate(&mut self, out: &mut Vec<u8>) {
        let mut done = 0;
        loop {
            out.reserve(4096 + (self.plain.len() - done) / 4);
            let before = (self.zlib.total_in(), out.len());
            let rest = self.plain.get(done..).unwrap_or(&[]);
            let status = self.zlib.compress_vec(rest, out, FlushCompress::Sync);
            done += (self.zlib.total_in() - before.0) as usize;
            // A flush is complete when there was room left for more.
            let full = out.len() == out.capacity();
            match status {
                Ok(Status::Ok) if done < self.plain.len() || full => {}
                _ => return,
            }
        }
    }
}

/// One tile: solid, packed palette, or raw.
fn tile(frame: &Frame, r: Rect, f: &PixelFormat, out: &mut Vec<u8>) {
    let mut palette: Vec<u32> = Vec::with_capacity(PALETTE);
    let mut last = None;
    for p in pixels(frame, r) {
        if last == Some(p) {
            continue;
        }
        last = Some(p);
        if !palette.contains(&p) {
            if palette.len() == PALETTE {
                palette.clear();
                break;
            }
            palette.push(p);
        }
    }
    match palette[..] {
        [] => {
            out.push(0);
            for p in pixels(frame, r) {
                f.put_compact(p, out);
            }
        }
        [one] => {
            out.push(1);
            f.put_compact(one, out);
        }
        _ => packed(frame, r, f, &palette, out),
    }
}

fn packed(frame: &Frame, r: Rect, f: &PixelFormat, palette: &[u32], out: &mut Vec<u8>) {
    out.push(palette.len() as u8);
    for p in palette {
        f.put_compact(*p, out);
    }
    let bits = match palette.len() {
        2 => 1,
        3..=4 => 2,
        _ => 4,
    };
    let (mut byte, mut filled, mut column) = (0u8, 0, 0);
    for p in pixels(frame, r) {
        let n = palette.iter().position(|&c| c == p).unwrap_or(0) as u8;
        byte |= n << (8 - bits - filled);
        filled += bits;
        column += 1;
        if filled == 8 || column == r.width {
            out.push(byte);
            (byte, filled) = (0, 0);
            column %= r.width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};

    fn bgr565() -> PixelFormat {
        let mut p = [0; 16];
        p[..13].copy_from_slice(&[16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0]);
        PixelFormat::parse(&p).unwrap()
    }

    #[test]
    fn formats() {
        assert_eq!(
            PixelFormat::parse(&PixelFormat::NATIVE.bytes()),
            Some(PixelFormat::NATIVE)
        );
        let mut out = Vec::new();
        bgr565().put(0xff_ff00, &mut out);
        PixelFormat::NATIVE.put_compact(0x01_0203, &mut out);
        assert_eq!(out, [0xff, 0xe0, 3, 2, 1]);
        let mut bad = PixelFormat::NATIVE.bytes();
        bad[10] = 32;
        assert_eq!(PixelFormat::parse(&bad), None);
        bad[0] = 24;
        assert_eq!(PixelFormat::parse(&bad), None);
    }

    #[test]
    fn zrle_is_one_stream_of_tiles() {
        let mut frame = Frame::black(65, 2);
        frame.pixels[1] = 0xff_ffff;
        for (n, p) in frame.pixels[64..65].iter_mut().enumerate() {
            *p = n as u32 + 7;
        }
        let all = Rect {
            x: 0,
            y: 0,
            width: 65,
            height: 2,
        };
        let (mut z, mut inflate) = (Zrle::default(), Decompress::new(true));
        for _ in 0..3 {
            let mut out = Vec::new();
            z.encode(&frame, all, &PixelFormat::NATIVE, &mut out);
            let len = u32::from_be_bytes(out[..4].try_into().unwrap()) as usize;
            assert_eq!(len, out.len() - 4);
            let mut plain = Vec::with_capacity(4096);
            inflate
                .decompress_vec(&out[4..], &mut plain, FlushDecompress::Sync)
                .unwrap();
            // Two colours, rows of eight bytes; then two colours, rows of one byte.
            assert_eq!(plain[..9], [2, 0, 0, 0, 255, 255, 255, 0x40, 0]);
            assert_eq!(plain[7 + 16..], [2, 7, 0, 0, 0, 0, 0, 0, 0x80]);
        }
    }
}

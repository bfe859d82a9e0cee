use super::*;
use crate::testing::{Fuzz, clock};
use std::fmt::Write;

const B: AccessSize = AccessSize::Byte;
const W: AccessSize = AccessSize::Word;

fn vga() -> Vga {
    Vga::new(Ram::with_banks(0x20_0000, &[MEMORY]).unwrap(), 0, clock())
}

impl Vga {
    fn out(&mut self, port: u16, value: u8) {
        self.port_write(REGION_PORTS, port - 0x3b0, B, value.into());
    }
    fn get(&mut self, port: u16) -> u8 {
        self.port_read(REGION_PORTS, port - 0x3b0, B) as u8
    }
    fn file(&mut self, port: u16, values: &[u8]) {
        for (n, v) in values.iter().enumerate() {
            self.port_write(REGION_PORTS, port - 0x3b0, W, n as u32 | u32::from(*v) << 8);
        }
    }
    fn attributes(&mut self, values: &[u8]) {
        self.get(0x3da);
        for (n, v) in values.iter().enumerate() {
            self.out(0x3c0, n as u8);
            self.out(0x3c0, *v);
        }
        self.out(0x3c0, 0x20);
    }
    fn mode(&mut self, m: &Mode) {
        self.out(0x3c2, m.misc);
        self.file(0x3c4, &[&[3], &m.sequencer[..]].concat());
        self.port_write(REGION_PORTS, 0x24, W, 0x0011);
        self.file(0x3d4, &m.crtc);
        self.file(0x3ce, &m.graphics);
        self.attributes(&m.attribute);
        self.out(0x3c8, 0);
        for i in 0..=255u8 {
            // Colours of the EGA for the first 64, greys for the rest.
            let ega = |high: u8, low: u8| (i >> high & 1) * 42 + (i >> low & 1) * 21;
            let grey = i >> 2;
            let rgb = match i {
                0..64 => [ega(2, 5), ega(1, 4), ega(0, 3)],
                _ => [grey; 3],
            };
            for c in rgb {
                self.out(0x3c9, c);
            }
        }
    }
    fn poke(&mut self, addr: u64, value: u8) {
        self.mmio_write(REGION_WINDOW, addr - 0xa_0000, B, value.into());
    }
    fn peek(&mut self, addr: u64) -> u8 {
        self.mmio_read(REGION_WINDOW, addr - 0xa_0000, B) as u8
    }
    fn dispi(&mut self, n: u16, value: u16) {
        self.port_write(REGION_DISPI, 0, W, n.into());
        self.port_write(REGION_DISPI, 1, W, value.into());
    }
    fn dispi_get(&mut self, n: u16) -> u16 {
        self.port_write(REGION_DISPI, 0, W, n.into());
        self.port_read(REGION_DISPI, 1, W) as u16
    }
}

/// A mode's registers as IBM's video BIOS sets them (PS/2 BIOS Technical Reference, "Video parameters").
struct Mode {
    misc: u8,
    sequencer: [u8; 4],
    crtc: [u8; 25],
    graphics: [u8; 9],
    attribute: [u8; 21],
}

const EGA: [u8; 16] = [
    0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
];

fn attribute(palette: [u8; 16], rest: [u8; 5]) -> [u8; 21] {
    let mut a = [0; 21];
    a[..16].copy_from_slice(&palette);
    a[16..].copy_from_slice(&rest);
    a
}

/// 80 by 25 characters.
fn mode_3() -> Mode {
    Mode {
        misc: 0x67,
        sequencer: [0, 3, 0, 2],
        crtc: [
            0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c,
            0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
        ],
        graphics: [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff],
        attribute: attribute(EGA, [0x0c, 0, 0x0f, 8, 0]),
    }
}

/// 320 by 200, CGA's four colours.
fn mode_4() -> Mode {
    let mut palette = [0; 16];
    palette[..4].copy_from_slice(&[0, 3, 5, 7]);
    Mode {
        misc: 0x63,
        sequencer: [9, 3, 0, 2],
        crtc: [
            0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
            0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff,
        ],
        graphics: [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff],
        attribute: attribute(palette, [1, 0, 3, 0, 0]),
    }
}

/// 640 by 480, 16 colours.
fn mode_12() -> Mode {
    Mode {
        misc: 0xe3,
        sequencer: [1, 0x0f, 0, 6],
        crtc: [
            0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c,
            0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff,
        ],
        graphics: [0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff],
        attribute: attribute(EGA, [1, 0, 0x0f, 0, 0]),
    }
}

/// 320 by 200, 256 colours.
fn mode_13() -> Mode {
    Mode {
        misc: 0x63,
        sequencer: [1, 0x0f, 0, 0x0e],
        crtc: [
            0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
            0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff,
        ],
        graphics: [0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff],
        attribute: attribute(std::array::from_fn(|i| i as u8), [0x41, 0, 0x0f, 0, 0]),
    }
}

/// FNV-1a over size and pixels: pictures are compared by it.
fn hash(f: &Frame) -> u64 {
    let words = [f.width, f.height]
        .into_iter()
        .chain(f.pixels.iter().copied());
    words.fold(0xcbf2_9ce4_8422_2325, |h: u64, w| {
        (h ^ u64::from(w)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A font whose character `c` has the pattern `c` in each row but the first, which is blank.
fn load_font(v: &mut Vga) {
    for (port, value) in [
        (0x3c4, 0x0402),
        (0x3c4, 0x0704),
        (0x3ce, 0x0005),
        (0x3ce, 0x0406),
    ] {
        v.port_write(REGION_PORTS, port - 0x3b0, W, value);
    }
    for c in 0..256u64 {
        for row in 1..16 {
            v.poke(0xa_0000 + c * 32 + row, c as u8);
        }
    }
    for (port, value) in [
        (0x3c4, 0x0302),
        (0x3c4, 0x0304),
        (0x3ce, 0x1005),
        (0x3ce, 0x0e06),
    ] {
        v.port_write(REGION_PORTS, port - 0x3b0, W, value);
    }
}

#[test]
fn text_modes_show_characters() {
    let mut v = vga();
    v.mode(&mode_3());
    load_font(&mut v);
    for i in 0..2000 {
        v.poke(0xb_8000 + 2 * i, b' ');
        v.poke(0xb_8001 + 2 * i, 0x07);
    }
    for (i, c) in (0..).zip(b"Ferry\xc4") {
        v.poke(0xb_8000 + 2 * (80 + i), *c);
        v.poke(0xb_8001 + 2 * (80 + i), 0x1e);
    }
    assert_eq!(v.peek(0xb_8000 + 160), b'F');
    assert_eq!(v.peek(0xb_8000 + 161), 0x1e);
    let s = v.snapshot();
    let t = s.text().unwrap();
    assert_eq!((t.columns, t.rows, t.cursor), (80, 25, Some((0, 0))));
    assert_eq!(t.text(), "\nFerry─");
    assert_eq!(t.row(1)[1].foreground, 14);
    assert_eq!(t.row(1)[1].background, 1);
    let f = s.frame();
    assert_eq!((f.width, f.height), (720, 400));
    // 'F' is 0x46: yellow where set, blue where not; the ninth dot is background but for line drawing.
    let (yellow, blue) = (0xff_ff55, 0x00_00aa);
    let row: Vec<bool> = f.line(17)[..9].iter().map(|&p| p == yellow).collect();
    let t = true;
    assert_eq!(row, [!t, t, !t, !t, !t, t, t, !t, !t]);
    assert!(f.line(16)[..54].iter().all(|&p| p == blue));
    // The cursor is a bar in rows 13 and 14 of the first cell.
    assert_eq!(
        f.line(13)[..10].iter().filter(|&&p| p == 0xaa_aaaa).count(),
        9
    );
    // It is gone half a second later.
    let later = Snapshot {
        now: 300_000_000,
        ..s
    };
    assert_eq!(later.frame().line(13)[8], 0);
    v.file(0x3c4, &[3, 0x20]);
    assert!(v.snapshot().frame().pixels.iter().all(|&p| p == 0));
    assert_eq!(v.snapshot().text(), None);
}

#[test]
fn the_start_address_scrolls_text() {
    let mut v = vga();
    v.mode(&mode_3());
    v.poke(0xb_8000 + 160, b'x');
    v.port_write(REGION_PORTS, 0x24, W, 80 << 8 | 0x0d);
    assert_eq!(v.snapshot().text().unwrap().text(), "x");
}

#[test]
fn planes_are_written_in_four_modes() {
    let mut v = vga();
    v.mode(&mode_12());
    // Mode 0 with set/reset: colour 5 in two pixels by the bit mask.
    for value in [0x0500, 0x0f01, 0xc008] {
        v.port_write(REGION_PORTS, 0x1e, W, value);
    }
    v.peek(0xa_0000);
    v.poke(0xa_0000, 0xff);
    // Mode 2: colour 14 in the pixel after them.
    for value in [0x0001, 0x2008, 0x0205] {
        v.port_write(REGION_PORTS, 0x1e, W, value);
    }
    v.peek(0xa_0000);
    v.poke(0xa_0000, 14);
    // Mode 1: the byte copied.
    v.port_write(REGION_PORTS, 0x1e, W, 0x0105);
    v.peek(0xa_0000);
    v.poke(0xa_0001, 0);
    // Mode 3: colour 3 where data and mask agree.
    for value in [0xff08, 0x0300, 0x0305] {
        v.port_write(REGION_PORTS, 0x1e, W, value);
    }
    v.peek(0xa_0001);
    v.poke(0xa_0001, 0x01);
    // Read mode 1 finds colour 5.
    for value in [0x0502, 0x0f07, 0x0805] {
        v.port_write(REGION_PORTS, 0x1e, W, value);
    }
    assert_eq!(v.peek(0xa_0000), 0xc0);
    v.port_write(REGION_PORTS, 0x1e, W, 0x0805);
    let f = v.snapshot().frame();
    assert_eq!((f.width, f.height), (640, 480));
    let (black, magenta, yellow, cyan) = (0, 0xaa_00aa, 0xff_ff55, 0x00_aaaa);
    assert_eq!(
        f.line(0)[..16],
        [
            magenta, magenta, yellow, black, black, black, black, black, //
            magenta, magenta, yellow, black, black, black, black, cyan,
        ]
    );
    // XOR with the latches twice brings back what was there.
    for value in [0x0005, 0x1803, 0x0001] {
        v.port_write(REGION_PORTS, 0x1e, W, value);
    }
    for _ in 0..2 {
        v.peek(0xa_0001);
        v.poke(0xa_0001, 0x5a);
    }
    assert_eq!(v.snapshot().frame(), f);
}

#[test]
fn a_byte_is_a_pixel_in_256_colours() {
    let mut v = vga();
    v.mode(&mode_13());
    for i in 0..64_000u64 {
        v.poke(0xa_0000 + i, (i % 320) as u8);
    }
    assert_eq!(v.peek(0xa_0000 + 321), 1);
    let f = v.snapshot().frame();
    assert_eq!((f.width, f.height), (320, 200));
    assert_eq!(f.line(199)[128], 0x82_8282);
    assert_eq!(f.line(7), f.line(150));
    // Mode X: the same picture unchained; a page flip shows the next.
    v.port_write(REGION_PORTS, 0x14, W, 0x0604);
    v.port_write(REGION_PORTS, 0x24, W, 0x0014);
    v.port_write(REGION_PORTS, 0x24, W, 0xe317);
    for plane in 0..4u32 {
        v.port_write(REGION_PORTS, 0x14, W, 0x0002 | 0x100 << plane);
        for i in 0..16_000u64 {
            v.poke(0xa_0000 + i, ((i * 4 + u64::from(plane)) % 320) as u8);
        }
    }
    assert_eq!(v.snapshot().frame(), f);
    // Chained, address 0x4000 was that of the same byte of plane 0: pixel 64 of a line.
    v.port_write(REGION_PORTS, 0x24, W, 0x400c);
    assert_eq!(v.snapshot().frame().line(0)[..4], f.line(0)[64..68]);
}

#[test]
fn cga_graphics_have_two_banks_of_lines() {
    let mut v = vga();
    v.mode(&mode_4());
    v.poke(0xb_8000, 0b00_01_10_11);
    v.poke(0xb_a000 + 1, 0b11_00_00_00);
    let f = v.snapshot().frame();
    assert_eq!((f.width, f.height), (320, 200));
    let (black, cyan, magenta, white) = (0, 0x00_aaaa, 0xaa_00aa, 0xaa_aaaa);
    assert_eq!(f.line(0)[..5], [black, cyan, magenta, white, black]);
    assert_eq!(f.line(1)[4], white);
    assert_eq!(f.line(2), f.line(3));
}

#[test]
fn linear_modes() {
    let mut v = vga();
    assert_eq!(v.dispi_get(0), 0xb0c5);
    assert_eq!(v.dispi_get(10), 256);
    for (bits, bytes, want) in [
        (32, &[0x33, 0x22, 0x11, 0xff][..], 0x11_2233),
        (24, &[0x33, 0x22, 0x11], 0x11_2233),
        (16, &[0x1f, 0xf8], 0xff_00ff),
        (15, &[0xe0, 0x03], 0x00_ff00),
        (8, &[15], 0xff_ffff),
    ] {
        v.dispi(4, 0);
        for (n, value) in [(1, 640), (2, 480), (3, bits), (4, 0x41)] {
            v.dispi(n, value);
        }
        v.out(0x3c8, 15);
        for _ in 0..3 {
            v.out(0x3c9, 63);
        }
        let at = (640 * 5 + 3) * bytes.len() as u64;
        for (i, b) in (0..).zip(bytes) {
            v.mmio_write(REGION_LINEAR, at + i, B, (*b).into());
        }
        let f = v.snapshot().frame();
        assert_eq!((f.width, f.height), (640, 480));
        assert_eq!(f.line(5)[3], want, "{bits}");
        assert_eq!(f.pixels.iter().filter(|&&p| p != 0).count(), 1, "{bits}");
        // The same byte through a bank of the window.
        v.out(0x3c2, 0x63);
        v.port_write(REGION_PORTS, 0x1e, W, 0x0506);
        v.dispi(5, (at >> 16) as u16);
        assert_eq!(v.peek(0xa_0000 + (at & 0xffff)), bytes[0]);
        v.dispi(9, 5);
        assert_eq!(v.snapshot().frame().line(0)[3], want);
    }
    v.dispi(4, 2);
    assert_eq!((v.dispi_get(1), v.dispi_get(3)), (16_000, 32));
    assert_eq!(v.registers_read(0x500, W), 0xb0c5);
    assert_eq!(v.registers_read(0x604, AccessSize::Dword), 0x1e1e_1e1e);
}

#[test]
fn too_large_a_mode_is_cut_to_memory() {
    let mut v = vga();
    for (n, value) in [
        (1, 0xffff),
        (2, 0xffff),
        (3, 32),
        (4, 1),
        (8, 0xffff),
        (9, 0xffff),
    ] {
        v.dispi(n, value);
    }
    let f = v.snapshot().frame();
    assert_eq!(f.width, 16_000);
    assert!(u64::from(f.width) * u64::from(f.height) * 4 <= MEMORY);
    v.dispi(1, 1024);
    v.dispi(6, 0);
    v.dispi(2, 768);
    let f = v.snapshot().frame();
    assert_eq!((f.width, f.height), (1024, 768));
}

#[test]
fn registers_read_back_and_are_protected() {
    let mut v = vga();
    v.out(0x3c2, 0x67);
    assert_eq!(v.get(0x3cc), 0x67);
    v.file(0x3d4, &[0xaa; 25]);
    v.out(0x3d4, 0);
    v.out(0x3d5, 0x55);
    assert_eq!(v.get(0x3d5), 0xaa, "protected");
    v.out(0x3d4, 7);
    v.out(0x3d5, 0xff);
    assert_eq!(v.get(0x3d5), 0xba, "but for line compare");
    assert_eq!(v.get(0x3b5), 0xff, "monochrome ports are nobody's");
    v.out(0x3c2, 0x66);
    assert_eq!(v.get(0x3b5), 0xba);
    v.out(0x3c7, 5);
    assert_eq!(v.get(0x3c7), 3);
    v.out(0x3c8, 5);
    for c in [1, 2, 0xff] {
        v.out(0x3c9, c);
    }
    v.out(0x3c7, 5);
    assert_eq!([v.get(0x3c9), v.get(0x3c9), v.get(0x3c9)], [1, 2, 63]);
    assert_eq!(v.get(0x3c2), 0x10);
}

#[test]
fn the_beam_moves() {
    let c = clock();
    let mut v = Vga::new(Ram::with_banks(0x20_0000, &[MEMORY]).unwrap(), 0, c.clone());
    v.out(0x3c2, 0x67);
    let mut seen = [0u32; 16];
    for n in 0..14_268 {
        c.skip_to(n * 1000);
        seen[usize::from(v.get(0x3da) & 15)] += 1;
    }
    let mut text = String::new();
    for (status, n) in seen.iter().enumerate().filter(|s| *s.1 > 0) {
        write!(text, "{status}:{n} ").unwrap();
    }
    assert!(seen[9] > 50 && seen[9] < 80 && seen[0] > 9_000, "{text}");
}

#[test]
fn state_survives() {
    let mut v = vga();
    v.mode(&mode_12());
    v.poke(0xa_0000, 0xff);
    let f = v.snapshot().frame();
    let s = v.save().unwrap();
    v.reset();
    assert!(v.snapshot().frame() != f);
    v.restore(&s).unwrap();
    assert_eq!(hash(&v.snapshot().frame()), hash(&f));
}

#[test]
fn survives_anything() {
    let mut v = vga();
    let mut f = Fuzz::new(0x3c0);
    for round in 0..300_000u32 {
        match f.below(8) {
            0..4 => {
                let regions = [(REGION_PORTS, 0x30), (REGION_DISPI, 3)];
                f.ports(&mut v, &regions);
            }
            4 => v.dispi(f.below(12) as u16, f.value() as u16),
            5 => {
                let offset = f.below(0x2_0000);
                let size = f.size();
                if f.flip() {
                    v.mmio_read(REGION_WINDOW, offset, size);
                } else {
                    v.mmio_write(REGION_WINDOW, offset, size, f.value());
                }
            }
            6 => {
                let (offset, size) = (f.below(0x1000), f.size());
                v.mmio_write(REGION_REGISTERS, offset, size, f.value());
                v.mmio_read(REGION_REGISTERS, offset, size);
            }
            _ => v.mmio_write(REGION_LINEAR, f.value(), f.size(), f.next()),
        }
        if round % 3000 == 0 {
            let s = v.snapshot();
            let picture = s.frame();
            assert_eq!(
                picture.pixels.len(),
                picture.width as usize * picture.height as usize
            );
            s.text().map(|t| t.text());
        }
    }
    let s = v.save().unwrap();
    v.restore(&s).unwrap();
}

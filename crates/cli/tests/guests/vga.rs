//! A guest with a screen: sets text mode 3, writes a line, and sends what is typed to COM1.

/// `mov dx, port; mov ax, value; out dx, ax`.
fn out16(port: u16, value: u16) -> Vec<u8> {
    let ([pl, ph], [vl, vh]) = (port.to_le_bytes(), value.to_le_bytes());
    vec![0x66, 0xba, pl, ph, 0x66, 0xb8, vl, vh, 0x66, 0xef]
}

/// `mov dx, port; mov al, value; out dx, al`.
pub fn out8(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x66, 0xba, low, high, 0xb0, value, 0xee]
}

/// Writes `text` into the first line in yellow on blue, in mode 3 without a font.
pub fn text_mode(text: &str) -> Vec<u8> {
    let mut code = out8(0x3c2, 0x67);
    let files: [(u16, &[(u8, u8)]); 3] = [
        (0x3c4, &[(0, 3), (1, 0), (2, 3), (3, 0), (4, 2)]),
        (
            0x3d4,
            &[
                (0x11, 0),
                (0x01, 0x4f),
                (0x07, 0x1f),
                (0x09, 0x4f),
                (0x0a, 0x20),
                (0x12, 0x8f),
                (0x13, 0x28),
                (0x14, 0x1f),
                (0x17, 0xa3),
                (0x18, 0xff),
            ],
        ),
        (0x3ce, &[(5, 0x10), (6, 0x0e), (8, 0xff)]),
    ];
    for (port, values) in files {
        for (n, v) in values {
            code.extend(out16(port, u16::from(*v) << 8 | u16::from(*n)));
        }
    }
    // in al, 0x3da: the attribute port takes an index next.
    code.extend([0x66, 0xba, 0xda, 0x03, 0xec]);
    for n in 0..16u8 {
        code.extend(out8(0x3c0, n));
        code.extend(out8(0x3c0, n));
    }
    code.extend(out8(0x3c0, 0x20));
    // DAC 1 blue, 14 yellow.
    for (n, rgb) in [(1, [0, 0, 42]), (14, [63, 63, 21])] {
        code.extend(out8(0x3c8, n));
        for c in rgb {
            code.extend(out8(0x3c9, c));
        }
    }
    for (n, c) in (0u32..).zip(text.bytes()) {
        // mov word [0xb8000 + 2 * n], 0x1e << 8 | c
        code.extend([0x66, 0xc7, 0x05]);
        code.extend((0xb_8000 + 2 * n).to_le_bytes());
        code.extend([c, 0x1e]);
    }
    code
}

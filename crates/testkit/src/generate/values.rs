//! Values worth trying: integers and floats at their edges, x87 and SSE control state.

use crate::case::{USER_DS, USER32_CS, USER64_CS};
use crate::rng::Rng;
use iced_x86::MemorySize;

/// Selectors that both sides know: Linux's user segments, the LDT's, null, out of bounds, with all RPLs.
pub fn selector(rng: &mut Rng) -> u16 {
    let base = match rng.below(10) {
        0 => rng.below(4) as u16,
        1 => USER32_CS,
        2 => USER64_CS,
        3 | 4 => USER_DS,
        5 => 0x5f,
        _ => (rng.below(11) as u16) << 3 | 7,
    };
    if rng.chance(10) {
        base & !3 | rng.below(4) as u16
    } else {
        base
    }
}

/// A single-precision value.
pub fn f32_bits(rng: &mut Rng) -> u32 {
    let sign = (rng.below(2) as u32) << 31;
    sign | match rng.below(16) {
        0 => 0,
        1 => 0x7f80_0000,
        2 => 0x7fc0_0000 | rng.u64() as u32 & 0x3f_ffff,
        3 => 0x7f80_0001 | rng.u64() as u32 & 0x3f_ffff,
        4 => 1 + rng.below(0x7f_ffff) as u32,
        5 => rng.pick(&[
            1,
            0x7f_ffff,
            0x80_0000,
            0x7f7f_ffff,
            0x3f80_0000,
            0x3f00_0000,
            0x3f7f_ffff,
            0x3f80_0001,
        ]),
        6 => (rng.below(1000) as f32).to_bits(),
        7 => (rng.below(64) as f32 + 0.5).to_bits(),
        8 => rng
            .pick(&[31.0f32, 32.0, 63.0, 64.0])
            .exp2()
            .to_bits()
            .wrapping_add(rng.below(3) as u32)
            .wrapping_sub(1),
        9 | 10 => (rng.below(40) as u32 + 107) << 23 | rng.u64() as u32 & 0x7f_ffff,
        11 => (rng.below(30) as u32) << 23 | rng.u64() as u32 & 0x7f_ffff,
        12 => (rng.below(30) as u32 + 225) << 23 | rng.u64() as u32 & 0x7f_ffff,
        13 => (rng.below(254) as u32 + 1) << 23,
        _ => rng.u64() as u32 & 0x7fff_ffff,
    }
}

/// A double-precision value.
pub fn f64_bits(rng: &mut Rng) -> u64 {
    let sign = rng.below(2) << 63;
    const FRACTION: u64 = (1 << 52) - 1;
    sign | match rng.below(16) {
        0 => 0,
        1 => 0x7ff << 52,
        2 => 0x7ff << 52 | 1 << 51 | rng.u64() & (FRACTION >> 1),
        3 => 0x7ff << 52 | 1 | rng.u64() & (FRACTION >> 1),
        4 => 1 + (rng.u64() & (FRACTION >> rng.below(52))),
        5 => rng.pick(&[
            1,
            FRACTION,
            1 << 52,
            (0x7ff << 52) - 1,
            0x3ff << 52,
            0x3fe << 52,
            (0x3ff << 52) - 1,
            (0x3ff << 52) + 1,
        ]),
        6 => (rng.below(1000) as f64).to_bits(),
        7 => (rng.below(64) as f64 + 0.5).to_bits(),
        8 => rng
            .pick(&[31.0f64, 32.0, 63.0, 64.0, 15.0])
            .exp2()
            .to_bits()
            .wrapping_add(rng.below(3))
            .wrapping_sub(1),
        9 | 10 => (rng.below(60) + 993) << 52 | rng.u64() & FRACTION,
        // Around the ends of single precision.
        11 => (rng.below(60) + 860) << 52 | rng.u64() & FRACTION,
        12 => {
            f64::from(f32::from_bits(f32_bits(rng) & 0x7f7f_ffff)).to_bits()
                | rng.below(2) << rng.below(30)
        }
        13 => (rng.below(2046) + 1) << 52,
        14 => {
            let near = rng.below(60);
            rng.pick(&[near, 2046 - near]) << 52 | rng.u64() & FRACTION
        }
        _ => rng.u64() & !(1 << 63),
    }
}

/// An extended-precision value, unsupported encodings included.
pub fn f80(rng: &mut Rng) -> [u8; 10] {
    let sign = (rng.below(2) as u16) << 15;
    let integer = 1u64 << 63;
    let (exponent, significand): (u64, u64) = match rng.below(22) {
        0 => (0, 0),
        1 => (0x7fff, integer),
        2 => (0x7fff, integer | 1 << 62 | rng.u64() >> 2),
        3 => (0x7fff, integer | 1 | rng.u64() >> 2),
        4 => (0, 1 + (rng.u64() >> (1 + rng.below(63)))),
        // Pseudo-denormal, unnormal, pseudo-infinity, pseudo-NaN.
        5 => (0, integer | rng.u64()),
        6 => match rng.below(4) {
            0 => (rng.below(0x7ffe) + 1, rng.u64() >> 1),
            1 => (0x7fff, 0),
            2 => (0x7fff, rng.u64() >> 1),
            _ => (1, rng.u64() >> 1),
        },
        7 => (0x3fff, integer),
        8 | 9 => (
            0x3fff + rng.below(12),
            integer | rng.u64() << rng.pick(&[32, 40, 48, 53, 56]),
        ),
        10 => (0x3fff + rng.below(66), integer | rng.u64() & rng.u64()),
        11 | 12 => (0x3fff - rng.below(40), integer | rng.u64()),
        13 => (rng.below(70) + 1, integer | rng.u64()),
        14 => (0x7ffe - rng.below(70), integer | rng.u64()),
        // Around the ends of double and single precision.
        15 => (0x3c01 - 60 + rng.below(64), integer | rng.u64()),
        16 => (0x43fe - 4 + rng.below(8), integer | rng.u64()),
        17 => (
            0x3f81 - 30 + rng.below(34),
            integer | rng.u64() << rng.pick(&[0, 11, 40]),
        ),
        18 => (0x407e - 3 + rng.below(6), integer | rng.u64()),
        19 => (0x3ffe + rng.below(3), integer | rng.u64()),
        20 => (0x3fff + rng.below(64), integer | rng.u64()),
        _ => (rng.below(0x8000), integer | rng.u64()),
    };
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&significand.to_le_bytes());
    bytes[8..].copy_from_slice(&(exponent as u16 & 0x7fff | sign).to_le_bytes());
    bytes
}

/// An XMM register.
pub fn xmm(rng: &mut Rng) -> u128 {
    let lanes32 = |rng: &mut Rng| (0..4).fold(0, |v, i| v | u128::from(f32_bits(rng)) << (32 * i));
    match rng.below(8) {
        0..=2 => lanes32(rng),
        3..=5 => u128::from(f64_bits(rng)) | u128::from(f64_bits(rng)) << 64,
        6 => u128::from(rng.edge()) | u128::from(rng.edge()) << 64,
        // Few distinct bytes, zeros among them: for compares and string instructions.
        _ => {
            let alphabet = rng.u64() & 0x0303_0303_8303_0303;
            (0..16).fold(0, |v, i| {
                v | u128::from((alphabet >> (8 * rng.below(8))) as u8) << (8 * i)
            })
        }
    }
}

/// A control word: mostly all masked, any precision and rounding.
pub fn fcw(rng: &mut Rng) -> u16 {
    let masks = if rng.chance(85) {
        0x3f
    } else {
        rng.below(0x40) as u16
    };
    0x40 | masks | rng.pick(&[0x300, 0x300, 0x200, 0]) | rng.pick(&[0, 0, 0x400, 0x800, 0xc00])
}

/// A status word that agrees with `fcw` on ES and B.
pub fn fsw(rng: &mut Rng, fcw: u16) -> u16 {
    let mut fsw = rng.u64() as u16 & 0x7f00;
    if rng.chance(30) {
        fsw |= rng.below(0x80) as u16;
    }
    if fsw & !fcw & 0x3f != 0 && rng.chance(70) {
        fsw &= !(0x3f & !fcw);
    }
    if fsw & !fcw & 0x3f != 0 {
        fsw | 0x8080
    } else {
        fsw & !0x8080
    }
}

/// MXCSR: mostly all masked; any rounding, DAZ and FTZ.
pub fn mxcsr(rng: &mut Rng) -> u32 {
    let masks = if rng.chance(85) {
        0x1f80
    } else {
        (rng.below(0x40) as u32) << 7
    };
    let sticky = if rng.chance(40) {
        rng.below(0x40) as u32
    } else {
        0
    };
    let modes = if rng.chance(30) {
        rng.pick(&[0x40, 0x8000, 0x8040])
    } else {
        0
    };
    masks | sticky | modes | rng.pick(&[0, 0, 0x2000, 0x4000, 0x6000])
}

/// An image that FXRSTOR64 takes: control words, eight ST and sixteen XMM registers.
pub fn fxsave(rng: &mut Rng) -> [u8; 512] {
    let mut fx = [0; 512];
    let fcw = fcw(rng);
    fx[..2].copy_from_slice(&fcw.to_le_bytes());
    fx[2..4].copy_from_slice(&fsw(rng, fcw).to_le_bytes());
    fx[4] = match rng.below(4) {
        0 => 0,
        1 | 2 => 0xff,
        _ => rng.u64() as u8,
    };
    fx[24..28].copy_from_slice(&mxcsr(rng).to_le_bytes());
    let mut last = f80(rng);
    for i in 0..8 {
        let mut value = f80(rng);
        // Neighbours of like magnitude, so that sums cancel and remainders are short.
        if rng.chance(30) {
            let exponent = u16::from_le_bytes([last[8], last[9]])
                .wrapping_add(rng.below(7) as u16)
                .wrapping_sub(3);
            value[8..].copy_from_slice(&(exponent ^ (rng.below(2) as u16) << 15).to_le_bytes());
        }
        fx[32 + 16 * i..42 + 16 * i].copy_from_slice(&value);
        last = value;
    }
    for i in 0..16 {
        fx[160 + 16 * i..176 + 16 * i].copy_from_slice(&xmm(rng).to_le_bytes());
    }
    fx
}

/// RFLAGS: the flags that user mode may set, without TF.
pub fn rflags(rng: &mut Rng) -> u64 {
    let mut flags = 0x202 | rng.u64() & 0x8d5;
    for (percent, bit) in [(15, 10), (2, 14), (2, 18), (30, 21)] {
        if rng.chance(percent) {
            flags |= 1 << bit;
        }
    }
    flags
}

/// What an instruction may find in memory of type `size`.
pub fn memory(rng: &mut Rng, size: MemorySize) -> Vec<u8> {
    use MemorySize as S;
    let len = size.size();
    let repeat = |rng: &mut Rng, element: usize, f: fn(&mut Rng) -> u64| -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            bytes.extend_from_slice(&f(rng).to_le_bytes()[..element]);
        }
        bytes
    };
    match size {
        S::Float32 | S::Packed64_Float32 | S::Packed128_Float32 => {
            repeat(rng, 4, |r| u64::from(f32_bits(r)))
        }
        S::Float64 | S::Packed128_Float64 => repeat(rng, 8, f64_bits),
        S::Float80 => f80(rng).to_vec(),
        S::Bcd => {
            let mut bytes = repeat(rng, 1, |r| r.below(10) << 4 | r.below(10));
            if rng.chance(20) {
                bytes = repeat(rng, 1, Rng::u64);
            }
            bytes[9] = rng.pick(&[0, 0x80, 0, 0x80, bytes[9]]);
            bytes
        }
        S::FpuEnv14 | S::FpuState94 | S::FpuEnv28 | S::FpuState108 => fpu_state(rng, len),
        S::Fxsave_512Byte | S::Fxsave64_512Byte => fxsave(rng).to_vec(),
        _ if len == 16 => xmm(rng).to_le_bytes().to_vec(),
        _ if len < 16 => repeat(rng, len.clamp(1, 8), Rng::edge),
        _ => repeat(rng, 8, Rng::u64),
    }
}

/// An image for FLDENV (14, 28 bytes) and FRSTOR (94, 108 bytes).
fn fpu_state(rng: &mut Rng, len: usize) -> Vec<u8> {
    let wide = if matches!(len, 28 | 108) { 4 } else { 2 };
    let fcw = fcw(rng);
    let words = [fcw, fsw(rng, fcw), rng.u64() as u16];
    let mut bytes = Vec::new();
    for i in 0..7 {
        let word = words.get(i).copied().unwrap_or_else(|| rng.u64() as u16);
        let upper = rng.u64() as u16;
        bytes.extend_from_slice(&word.to_le_bytes());
        if wide == 4 {
            bytes.extend_from_slice(&upper.to_le_bytes());
        }
    }
    while bytes.len() < len {
        bytes.extend_from_slice(&f80(rng));
    }
    bytes.truncate(len);
    bytes
}

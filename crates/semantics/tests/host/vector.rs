//! [`VecOp::eval`] against the host.

use super::{Random, from_host, host_has_sse4_2, to_host};
use semantics::vector::VecOp;
use std::arch::asm;
use std::arch::x86_64::__m128i;

type Host = fn(u128, u128) -> u128;

macro_rules! on_host {
    ($name:literal, $a:ident, $b:ident $(, $imm:ident)?) => {{
        // SAFETY: the instruction writes its operand and nothing else, and the caller has
        // looked that the host has it.
        unsafe {
            let (mut v, b): (__m128i, __m128i) = (to_host($a), to_host($b));
            asm!(concat!($name, " {v}, {b}" $(, ", {", stringify!($imm), "}")?), v = inout(xmm_reg) v, b = in(xmm_reg) b $(, $imm = const $imm)?,
                options(pure, nomem, nostack, preserves_flags));
            from_host(v)
        }
    }};
    (shift $name:literal, $a:ident, $imm:ident) => {{
        // SAFETY: as above.
        unsafe {
            let mut v: __m128i = to_host($a);
            asm!(concat!($name, " {v}, {n}"), v = inout(xmm_reg) v, n = const $imm, options(pure, nomem, nostack, preserves_flags));
            from_host(v)
        }
    }};
    (mask $name:literal, $b:ident) => {{
        // SAFETY: as above.
        unsafe {
            let b: __m128i = to_host($b);
            let mask: u64;
            asm!(concat!($name, " {r:e}, {b}"), r = out(reg) mask, b = in(xmm_reg) b, options(pure, nomem, nostack, preserves_flags));
            u128::from(mask)
        }
    }};
}

/// One function for each value of an immediate, because the instruction has it inside.
macro_rules! each {
    ($f:ident; $($n:literal)*) => { [$($f::<$n> as Host),*] };
}
macro_rules! each_imm {
    ($f:ident) => { each!($f; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135 136 137 138 139 140 141 142 143 144 145 146 147 148 149 150 151 152 153 154 155 156 157 158 159 160 161 162 163 164 165 166 167 168 169 170 171 172 173 174 175 176 177 178 179 180 181 182 183 184 185 186 187 188 189 190 191 192 193 194 195 196 197 198 199 200 201 202 203 204 205 206 207 208 209 210 211 212 213 214 215 216 217 218 219 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255) };
}

macro_rules! host {
    (plain: $($op:ident $name:literal)*; imm: $($iop:ident $iname:literal)*; shift: $($sop:ident $sname:literal)*; mask: $($mop:ident $mname:literal)*;) => {
        /// The host's instruction for an operation.
        fn host(op: VecOp) -> Host {
            match op {
                $(VecOp::$op => |a, b| on_host!($name, a, b),)*
                $(VecOp::$iop(n) => {
                    fn run<const I: u8>(a: u128, b: u128) -> u128 { on_host!($iname, a, b, I) }
                    each_imm!(run)[usize::from(n)]
                })*
                $(VecOp::$sop(n) => {
                    fn run<const I: u8>(a: u128, _: u128) -> u128 { on_host!(shift $sname, a, I) }
                    each_imm!(run)[usize::from(n)]
                })*
                $(VecOp::$mop => |_, b| on_host!(mask $mname, b),)*
            }
        }
    };
}

host! {
    plain: And "pand"
        AndNot "pandn"
        Or "por"
        Xor "pxor"
        Paddb "paddb"
        Paddw "paddw"
        Paddd "paddd"
        Paddq "paddq"
        Psubb "psubb"
        Psubw "psubw"
        Psubd "psubd"
        Psubq "psubq"
        Paddsb "paddsb"
        Paddsw "paddsw"
        Paddusb "paddusb"
        Paddusw "paddusw"
        Psubsb "psubsb"
        Psubsw "psubsw"
        Psubusb "psubusb"
        Psubusw "psubusw"
        Pavgb "pavgb"
        Pavgw "pavgw"
        Pminub "pminub"
        Pminuw "pminuw"
        Pminud "pminud"
        Pminsb "pminsb"
        Pminsw "pminsw"
        Pminsd "pminsd"
        Pmaxub "pmaxub"
        Pmaxuw "pmaxuw"
        Pmaxud "pmaxud"
        Pmaxsb "pmaxsb"
        Pmaxsw "pmaxsw"
        Pmaxsd "pmaxsd"
        Pabsb "pabsb"
        Pabsw "pabsw"
        Pabsd "pabsd"
        Psignb "psignb"
        Psignw "psignw"
        Psignd "psignd"
        Pmullw "pmullw"
        Pmulld "pmulld"
        Pmulhw "pmulhw"
        Pmulhuw "pmulhuw"
        Pmulhrsw "pmulhrsw"
        Pmuludq "pmuludq"
        Pmuldq "pmuldq"
        Pmaddwd "pmaddwd"
        Pmaddubsw "pmaddubsw"
        Psadbw "psadbw"
        Phminposuw "phminposuw"
        Pcmpeqb "pcmpeqb"
        Pcmpeqw "pcmpeqw"
        Pcmpeqd "pcmpeqd"
        Pcmpeqq "pcmpeqq"
        Pcmpgtb "pcmpgtb"
        Pcmpgtw "pcmpgtw"
        Pcmpgtd "pcmpgtd"
        Pcmpgtq "pcmpgtq"
        Phaddw "phaddw"
        Phaddd "phaddd"
        Phaddsw "phaddsw"
        Phsubw "phsubw"
        Phsubd "phsubd"
        Phsubsw "phsubsw"
        Psllw "psllw"
        Pslld "pslld"
        Psllq "psllq"
        Psrlw "psrlw"
        Psrld "psrld"
        Psrlq "psrlq"
        Psraw "psraw"
        Psrad "psrad"
        Packsswb "packsswb"
        Packssdw "packssdw"
        Packuswb "packuswb"
        Packusdw "packusdw"
        Punpcklbw "punpcklbw"
        Punpcklwd "punpcklwd"
        Punpckldq "punpckldq"
        Punpcklqdq "punpcklqdq"
        Punpckhbw "punpckhbw"
        Punpckhwd "punpckhwd"
        Punpckhdq "punpckhdq"
        Punpckhqdq "punpckhqdq"
        Pmovsxbw "pmovsxbw"
        Pmovsxbd "pmovsxbd"
        Pmovsxbq "pmovsxbq"
        Pmovsxwd "pmovsxwd"
        Pmovsxwq "pmovsxwq"
        Pmovsxdq "pmovsxdq"
        Pmovzxbw "pmovzxbw"
        Pmovzxbd "pmovzxbd"
        Pmovzxbq "pmovzxbq"
        Pmovzxwd "pmovzxwd"
        Pmovzxwq "pmovzxwq"
        Pmovzxdq "pmovzxdq"
        Pshufb "pshufb";
    imm: Mpsadbw "mpsadbw"
        Pshufd "pshufd"
        Pshuflw "pshuflw"
        Pshufhw "pshufhw"
        Shufps "shufps"
        Shufpd "shufpd"
        Palignr "palignr"
        Pblendw "pblendw"
        Blendps "blendps"
        Blendpd "blendpd"
        Insertps "insertps";
    shift: PsllwImm "psllw"
        PslldImm "pslld"
        PsllqImm "psllq"
        PsrlwImm "psrlw"
        PsrldImm "psrld"
        PsrlqImm "psrlq"
        PsrawImm "psraw"
        PsradImm "psrad"
        Pslldq "pslldq"
        Psrldq "psrldq";
    mask: Pmovmskb "pmovmskb"
        Movmskps "movmskps"
        Movmskpd "movmskpd";
}

/// Lanes at which arithmetic turns.
const EDGES: [u64; 12] = [
    0,
    1,
    u64::MAX,
    0x7f7f_7f7f_7f7f_7f7f,
    0x8080_8080_8080_8080,
    0x7fff_7fff_7fff_7fff,
    0x8000_8000_8000_8000,
    0x7fff_ffff_7fff_ffff,
    0x8000_0000_8000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xff00_80ff_0001_7fff,
];

fn vector(r: &mut Random) -> u128 {
    let mut half = || match r.u64() % 4 {
        0 => r.pick(&EDGES),
        1 => r.pick(&EDGES) ^ r.pick(&EDGES).rotate_left(r.u64() as u32 % 64),
        // Small: shift counts.
        2 => r.u64() % 70,
        _ => r.u64(),
    };
    u128::from(half()) << 64 | u128::from(half())
}

fn check(op: VecOp, cases: u32, r: &mut Random) {
    let host = host(op);
    for _ in 0..cases {
        let (a, b) = (vector(r), vector(r));
        let (ours, theirs) = (op.eval(a, b), host(a, b));
        assert_eq!(
            ours, theirs,
            "{op:?}: {a:#034x} {b:#034x}: {ours:#034x}, host {theirs:#034x}"
        );
    }
}

#[test]
fn every_operation_is_the_instruction_of_its_name() {
    if !host_has_sse4_2() {
        return;
    }
    let mut r = Random(1);
    for imm in 0..=255 {
        for op in VecOp::all(imm) {
            check(op, 64, &mut r);
        }
    }
}

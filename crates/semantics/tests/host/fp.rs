//! [`fp::eval`] and [`fp::compare`] against the host, results and exceptions, with everything masked. What unmasked exceptions do is
//! left to the comparison of whole instructions: here they would be signals.

use super::{Random, from_host, host_has_sse4_2, to_host};
use semantics::fp::{self, FpFormat, FpOp, Relation, ToInt};
use softfloat::{Env, Ordering4};
use std::arch::asm;
use std::arch::x86_64::__m128i;

/// Answers the result and MXCSR.
type Host = fn(u128, u128, u32) -> (u128, u32);

macro_rules! on_host {
    ($text:expr, $a:ident, $b:ident, $mxcsr:ident $(, $imm:ident)?) => {{
        // SAFETY: MXCSR has all exceptions masked meanwhile and is put back; the caller
        // has looked that the host has the instruction.
        unsafe {
            let (mut v, b): (__m128i, __m128i) = (to_host($a), to_host($b));
            let (mut old, mut new) = (0u32, $mxcsr);
            asm!("stmxcsr [{old}]", "ldmxcsr [{new}]", $text, "stmxcsr [{new}]", "ldmxcsr [{old}] // {r}",
                v = inout(xmm_reg) v, b = in(xmm_reg) b, old = in(reg) &mut old, new = in(reg) &mut new,
                r = out(reg) _ $(, $imm = const $imm)?);
            (from_host(v), new)
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

/// One instruction: the operation, its format, lanes, whether only the low half of the operand counts, and how the host does it.
struct Check {
    op: FpOp,
    format: FpFormat,
    lanes: u32,
    a_is_zero: bool,
    host: Host,
    name: &'static str,
}

macro_rules! checks {
    ($($name:ident $op:expr, $format:ident, $lanes:literal;)*) => {
        [$(Check {
            op: $op, format: FpFormat::$format, lanes: $lanes, a_is_zero: false, name: stringify!($name),
            host: |a, b, m| on_host!(concat!(stringify!($name), " {v}, {b}"), a, b, m),
        }),*]
    };
    // Results that replace the whole register.
    (zero $($name:ident $op:expr, $format:ident, $lanes:literal;)*) => {
        [$(Check {
            op: $op, format: FpFormat::$format, lanes: $lanes, a_is_zero: true, name: stringify!($name),
            host: |a, b, m| on_host!(concat!(stringify!($name), " {v}, {b}"), a, b, m),
        }),*]
    };
    (imm $imm:ident $($name:ident $op:ident, $format:ident, $lanes:literal;)*) => {
        [$({
            fn run<const I: u8>(a: u128, b: u128, m: u32) -> (u128, u32) {
                on_host!(concat!(stringify!($name), " {v}, {b}, {I}"), a, b, m, I)
            }
            Check {
                op: FpOp::$op($imm), format: FpFormat::$format, lanes: $lanes, a_is_zero: false, name: stringify!($name),
                host: each_imm!(run)[usize::from($imm)],
            }
        }),*]
    };
    (to $r:literal $($name:ident $op:expr, $format:ident;)*) => {
        [$(Check {
            op: $op, format: FpFormat::$format, lanes: 1, a_is_zero: true, name: stringify!($name),
            host: |a, b, m| on_host!(concat!(stringify!($name), " {r", $r, "}, {b}\nmovq {v}, {r}"), a, b, m),
        }),*]
    };
    (from $r:literal $($name:ident $op:expr, $format:ident;)*) => {
        [$(Check {
            op: $op, format: FpFormat::$format, lanes: 1, a_is_zero: false, name: stringify!($name),
            host: |a, b, m| on_host!(concat!("movq {r}, {b}\n", stringify!($name), " {v}, {r", $r, "}"), a, b, m),
        }),*]
    };
}

use FpOp::*;

fn plain() -> Vec<Check> {
    let mut all = Vec::from(checks! {
        addps Add, Single, 4;
        addpd Add, Double, 2;
        addss Add, Single, 1;
        addsd Add, Double, 1;
        subps Sub, Single, 4;
        subpd Sub, Double, 2;
        subss Sub, Single, 1;
        subsd Sub, Double, 1;
        mulps Mul, Single, 4;
        mulpd Mul, Double, 2;
        mulss Mul, Single, 1;
        mulsd Mul, Double, 1;
        divps Div, Single, 4;
        divpd Div, Double, 2;
        divss Div, Single, 1;
        divsd Div, Double, 1;
        minps Min, Single, 4;
        minpd Min, Double, 2;
        minss Min, Single, 1;
        minsd Min, Double, 1;
        maxps Max, Single, 4;
        maxpd Max, Double, 2;
        maxss Max, Single, 1;
        maxsd Max, Double, 1;
        sqrtps Sqrt, Single, 4;
        sqrtpd Sqrt, Double, 2;
        sqrtss Sqrt, Single, 1;
        sqrtsd Sqrt, Double, 1;
        addsubps AddSub, Single, 4;
        addsubpd AddSub, Double, 2;
        haddps HorizontalAdd, Single, 4;
        haddpd HorizontalAdd, Double, 2;
        hsubps HorizontalSub, Single, 4;
        hsubpd HorizontalSub, Double, 2;
        cvtps2pd ToDouble, Single, 2;
        cvtss2sd ToDouble, Single, 1;
        cvtsd2ss ToSingle, Double, 1;
        cvtdq2ps FromInt32, Single, 4;
        cvtdq2pd FromInt32, Double, 2;
        cvtps2dq ToInt32(ToInt::Current), Single, 4;
        cvttps2dq ToInt32(ToInt::Truncate), Single, 4;
    });
    all.extend(checks! { zero
        cvtpd2ps ToSingle, Double, 2;
        cvtpd2dq ToInt32(ToInt::Current), Double, 2;
        cvttpd2dq ToInt32(ToInt::Truncate), Double, 2;
    });
    all.extend(checks! { to ":e"
        cvtss2si ToInt32(ToInt::Current), Single;
        cvttss2si ToInt32(ToInt::Truncate), Single;
        cvtsd2si ToInt32(ToInt::Current), Double;
        cvttsd2si ToInt32(ToInt::Truncate), Double;
    });
    all.extend(checks! { to ":r"
        cvtss2si ToInt64(ToInt::Current), Single;
        cvttss2si ToInt64(ToInt::Truncate), Single;
        cvtsd2si ToInt64(ToInt::Current), Double;
        cvttsd2si ToInt64(ToInt::Truncate), Double;
    });
    all.extend(checks! { from ":e"
        cvtsi2ss FromInt32, Single;
        cvtsi2sd FromInt32, Double;
    });
    all.extend(checks! { from ":r"
        cvtsi2ss FromInt64, Single;
        cvtsi2sd FromInt64, Double;
    });
    all
}

fn with_immediate(imm: u8) -> Vec<Check> {
    let mut all = Vec::from(checks! { imm imm
        roundps Round, Single, 4;
        roundpd Round, Double, 2;
        roundss Round, Single, 1;
        roundsd Round, Double, 1;
        dpps Dot, Single, 4;
        dppd Dot, Double, 2;
    });
    // Predicates above 7 are reserved without VEX.
    if imm < 8 {
        all.extend(checks! { imm imm
            cmpps Cmp, Single, 4;
            cmppd Cmp, Double, 2;
            cmpss Cmp, Single, 1;
            cmpsd Cmp, Double, 1;
        });
    }
    all
}

/// Numbers at which something changes, as pairs of singles and as doubles.
const EDGES: [u64; 26] = [
    0,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0xfff8_0000_0000_0000,
    0x7ff8_0000_0000_1234,
    0x3ff0_0000_0000_0000,
    0xbff8_0000_0000_0000,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0020_0000,
    0x43e0_0000_0000_0000,
    0xc3e0_0000_0000_0000,
    0x41df_ffff_ffe0_0000,
    0x7f7f_ffff_0080_0000,
    0x7f80_0000_ff80_0000,
    0x7f80_0001_ffc0_0000,
    0x0000_0001_8000_0000,
    0x007f_ffff_4f00_0000,
    0xcf00_0001_5f00_0000,
    0x3f80_0000_bfc0_0000,
    0x4b00_0001_3f7f_ffff,
];

fn vector(r: &mut Random) -> u128 {
    let mut half = || match r.u64() % 5 {
        0 | 1 => r.pick(&EDGES),
        // Doubles and pairs of singles of moderate size.
        2 => {
            r.u64() & 0xc00f_ffff_ffff_ffff
                | 0x3f00_0000_0000_0000
                | r.u64() & 0x00f0_0000_0000_0000
        }
        3 => r.u64() & 0x81ff_ffff_81ff_ffff | 0x3e00_0000_3e00_0000,
        _ => r.u64(),
    };
    u128::from(half()) << 64 | u128::from(half())
}

/// All exceptions masked, the rest random.
fn mxcsr(r: &mut Random) -> u32 {
    r.u64() as u32 & 0xe040 | 0x1f80
}

/// `ours` with `theirs` in lanes where both are NaN: which of two NaN products a sum takes is not said (SDM Vol. 2A, DPPS), and Zen 4 and
/// Rocket Lake differ.
fn with_their_nans(ours: u128, theirs: u128, format: FpFormat) -> u128 {
    let (bits, nan): (u32, fn(u128) -> bool) = match format {
        FpFormat::Single => (32, |v| f32::from_bits(v as u32).is_nan()),
        FpFormat::Double => (64, |v| f64::from_bits(v as u64).is_nan()),
    };
    (0..128 / bits).fold(0, |all, n| {
        let lane = |v: u128| v >> (n * bits) & (u128::MAX >> (128 - bits));
        let (mine, their) = (lane(ours), lane(theirs));
        let taken = if nan(mine) && nan(their) { their } else { mine };
        all | taken << (n * bits)
    })
}

fn check(c: &Check, cases: u32, r: &mut Random) {
    for _ in 0..cases {
        let (a, b, m) = (if c.a_is_zero { 0 } else { vector(r) }, vector(r), mxcsr(r));
        let mut env = Env::from_mxcsr(m);
        let ours = fp::eval(c.op, c.format, c.lanes, a, b, &mut env);
        let (theirs, after) = (c.host)(a, b, m);
        let ours = match c.op {
            FpOp::Dot(_) => with_their_nans(ours, theirs, c.format),
            _ => ours,
        };
        assert_eq!(
            (ours, u32::from(env.flags.bits())),
            (theirs, after & 0x3f),
            "{} {:?}: {a:#034x} {b:#034x} under {m:#x}: {ours:#034x} {:?}, host {theirs:#034x} {:#x}",
            c.name,
            c.op,
            env.flags,
            after & 0x3f,
        );
    }
}

#[test]
fn every_operation_is_the_instruction_of_its_name() {
    if !host_has_sse4_2() {
        return;
    }
    let mut r = Random(2);
    for c in plain() {
        check(&c, 20_000, &mut r);
    }
    for imm in 0..=255 {
        for c in with_immediate(imm) {
            check(&c, 500, &mut r);
        }
    }
}

#[test]
fn comparisons_are_comis_and_ucomis() {
    if !host_has_sse4_2() {
        return;
    }
    macro_rules! host {
        ($name:literal) => {
            |a: u128, b: u128, m: u32| -> (u128, u32) {
                on_host!(
                    concat!($name, " {v}, {b}\npushfq\npop {r}\nmovq {v}, {r}"),
                    a,
                    b,
                    m
                )
            }
        };
    }
    let hosts: [(Relation, FpFormat, Host); 4] = [
        (Relation::Quiet, FpFormat::Single, host!("ucomiss")),
        (Relation::Signaling, FpFormat::Single, host!("comiss")),
        (Relation::Quiet, FpFormat::Double, host!("ucomisd")),
        (Relation::Signaling, FpFormat::Double, host!("comisd")),
    ];
    let mut r = Random(3);
    for (relation, format, host) in hosts {
        for _ in 0..50_000 {
            let (a, m) = (vector(&mut r), mxcsr(&mut r));
            let b = if r.u64().is_multiple_of(8) {
                a
            } else {
                vector(&mut r)
            };
            let mut env = Env::from_mxcsr(m);
            let order = match fp::compare(relation, format, a, b, &mut env) {
                Ordering4::Unordered => 0x45,
                Ordering4::Less => 0x01,
                Ordering4::Equal => 0x40,
                Ordering4::Greater => 0,
            };
            let (flags, after) = host(a, b, m);
            assert_eq!(
                (order, u32::from(env.flags.bits())),
                (flags & 0x45, after & 0x3f),
                "{relation:?} {format:?}: {a:#x} {b:#x} under {m:#x}"
            );
        }
    }
}

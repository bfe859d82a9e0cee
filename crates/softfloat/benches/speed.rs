//! Nanoseconds per operation: `cargo bench -p softfloat`. The first line is the cost of the loop itself.

use softfloat::{Env, F32, F64, F80, Rounding, sse, x87};
use std::hint::black_box;
use std::time::Instant;

const CALLS: u64 = 2_000_000;

/// The best of five rounds over pseudo-random 64-bit patterns.
fn bench(name: &str, mut operation: impl FnMut(u64)) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for i in 0..CALLS {
            operation(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / CALLS as f64);
    }
    println!("{name:10} {best:6.1} ns");
}

fn single(r: u64) -> F32 {
    F32((r >> 41 | (127 + (r & 7)) << 23) as u32)
}

fn double(r: u64) -> F64 {
    F64(r >> 12 | (1023 + (r & 7)) << 52)
}

fn extended(r: u64) -> F80 {
    F80::new(0x3fff + (r & 7) as u16, r | 1 << 63)
}

/// From -1 to 1.
fn fraction(r: u64) -> F80 {
    F80::new(0x3ff8 + (r & 6) as u16, r | 1 << 63)
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // a test runner asks for its tests: there are none
    }
    let env = &mut Env::default();
    macro_rules! two {
        ($name:literal, $operand:ident, $operation:expr) => {
            bench($name, |r| {
                let (a, b) = ($operand(r), $operand(r ^ 0x1234_5678_9abc_def1));
                black_box($operation(env, black_box(a), black_box(b)));
            })
        };
    }
    macro_rules! one {
        ($name:literal, $operand:ident, $operation:expr) => {
            bench($name, |r| {
                black_box($operation(env, black_box($operand(r))));
            })
        };
    }
    bench("(loop)", |r| {
        black_box((black_box(extended(r)), black_box(extended(!r))));
    });
    two!("addss", single, sse::add);
    two!("mulss", single, sse::mul);
    two!("divss", single, sse::div);
    one!("sqrtss", single, sse::sqrt);
    two!("addsd", double, sse::add);
    two!("mulsd", double, sse::mul);
    two!("divsd", double, sse::div);
    one!("sqrtsd", double, sse::sqrt);
    two!("minsd", double, sse::min);
    two!("comisd", double, sse::compare_signaling);
    one!("cvttsd2si", double, |env: &mut Env, a| sse::to_i64(
        env,
        a,
        Rounding::Zero
    ));
    bench("cvtsi2sd", |r| {
        black_box(sse::from_i64::<F64>(env, black_box(r as i64)));
    });
    one!("cvtsd2ss", double, sse::f64_to_f32);
    one!("cvtss2sd", single, sse::f32_to_f64);
    two!("fadd", extended, x87::add);
    two!("fmul", extended, x87::mul);
    two!("fdiv", extended, x87::div);
    one!("fsqrt", extended, x87::sqrt);
    two!("fcom", extended, x87::compare_signaling);
    one!("frndint", extended, x87::rndint);
    two!("fprem", extended, x87::prem);
    two!("fscale", extended, x87::scale);
    one!("fld m64", double, x87::load_f64);
    one!("fst m64", extended, x87::store_f64);
    one!("fist m64", extended, x87::to_i64);
    one!("fsin", extended, x87::sin);
    one!("fsincos", extended, x87::sincos);
    one!("fptan", extended, x87::tan);
    two!("fpatan", extended, x87::patan);
    two!("fyl2x", extended, x87::yl2x);
    one!("f2xm1", fraction, x87::f2xm1);
}

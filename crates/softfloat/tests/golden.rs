//! The same bits on every host: the transcendental instructions against correctly rounded results (made by
//! `golden/generate.py`), the others against sums over results that `host` compares with a processor.

#[path = "host/operands.rs"]
mod operands;

use operands::Random;
use softfloat::{Env, F32, F64, F80, Format, Rounding, sse, x87};

fn number(text: &str) -> F80 {
    let (sign_exponent, significand) = text.split_once('.').unwrap();
    F80::new(
        u16::from_str_radix(sign_exponent, 16).unwrap(),
        u64::from_str_radix(significand, 16).unwrap(),
    )
}

#[test]
fn results_are_correctly_rounded() {
    let mut count = 0;
    for line in include_str!("golden/transcendental.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (st0, st1, expect) = (number(fields[2]), number(fields[3]), number(fields[4]));
        let mut env = Env {
            rounding: Rounding::from_rc(fields[1].parse().unwrap()),
            ..Env::default()
        };
        let got = match fields[0] {
            "fsin" => x87::sin(&mut env, st0).unwrap(),
            "fcos" => x87::cos(&mut env, st0).unwrap(),
            "fptan" => x87::tan(&mut env, st0).unwrap(),
            "fpatan" => x87::patan(&mut env, st1, st0),
            "f2xm1" => x87::f2xm1(&mut env, st0),
            "fyl2x" => x87::yl2x(&mut env, st1, st0),
            "fyl2xp1" => x87::yl2xp1(&mut env, st1, st0),
            name => panic!("{name}"),
        };
        assert_eq!(got, expect, "{line}");
        count += 1;
    }
    assert!(count > 2000);
}

/// FNV-1a over results and flags.
struct Sum(u64);

impl Sum {
    fn add(&mut self, value: u64, env: &mut Env) {
        for word in [
            value,
            u64::from(env.flags.bits()) << 1 | u64::from(env.roundup),
        ] {
            self.0 = (self.0 ^ word).wrapping_mul(0x100_0000_01b3);
        }
        env.flags = Default::default();
        env.roundup = false;
    }

    fn add_f80(&mut self, value: F80, env: &mut Env) {
        self.add(value.significand, env);
        self.add(u64::from(value.sign_exponent), env);
    }
}

fn sse_sum<F: Format>() -> u64 {
    let (mut random, mut sum) = (Random::new(11), Sum(0));
    for _ in 0..20_000 {
        let a: F = random.float();
        let b = random.float_near(a);
        let mut env = Env::from_mxcsr((random.next() as u32 & 0xe040) | 0x1f80);
        let env = &mut env;
        for operation in [sse::add, sse::sub, sse::mul, sse::div, sse::min, sse::max] {
            sum.add(operation(env, a, b).bits(), env);
        }
        sum.add(sse::sqrt(env, a).bits(), env);
        sum.add(sse::to_i32(env, a, env.rounding) as u64, env);
        sum.add(sse::to_i64(env, a, env.rounding) as u64, env);
        sum.add(sse::from_i64::<F>(env, random.integer()).bits(), env);
        sum.add(sse::f32_to_f64(env, F32(a.bits() as u32)).bits(), env);
        sum.add(sse::f64_to_f32(env, F64(a.bits())).bits(), env);
        sum.add(sse::compare_signaling(env, a, b) as u64, env);
        sum.add(
            u64::from(sse::cmp_predicate(env, a, b, random.next() as u8)),
            env,
        );
    }
    sum.0
}

fn x87_sum() -> u64 {
    let (mut random, mut sum) = (Random::new(12), Sum(0));
    for _ in 0..20_000 {
        let a = random.f80();
        let b = random.f80_near(a);
        let mut env = Env::from_fcw(random.next() as u16 & 0xf3f | 0x200);
        let env = &mut env;
        sum.add_f80(x87::add(env, a, b), env);
        sum.add_f80(x87::sub(env, a, b), env);
        sum.add_f80(x87::mul(env, a, b), env);
        sum.add_f80(x87::div(env, a, b), env);
        sum.add_f80(x87::scale(env, a, b), env);
        sum.add_f80(x87::prem(env, a, b).value, env);
        sum.add_f80(x87::prem1(env, a, b).value, env);
        sum.add_f80(x87::sqrt(env, a), env);
        sum.add_f80(x87::rndint(env, a), env);
        sum.add_f80(x87::xtract(env, a).0, env);
        sum.add(x87::store_f32(env, a).bits(), env);
        sum.add(x87::store_f64(env, a).bits(), env);
        sum.add(x87::to_i64(env, a) as u64, env);
        sum.add(
            x87::to_bcd(env, a)
                .iter()
                .fold(0, |sum, &byte| sum << 7 ^ u64::from(byte)),
            env,
        );
        sum.add(x87::compare_quiet(env, a, b) as u64, env);
    }
    sum.0
}

#[test]
fn sums_are_the_same_everywhere() {
    assert_eq!(
        [sse_sum::<F32>(), sse_sum::<F64>(), x87_sum()],
        [
            0x854e_177e_5f34_52a1,
            0x9f24_89c5_4eee_e8bc,
            0x9239_dd51_fce0_36de
        ]
    );
}

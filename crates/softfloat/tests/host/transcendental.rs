//! Transcendental instructions against the host: results within one unit in the last place (chips differ), everything else
//! exactly.

use crate::operands::Random;
use crate::report::{Report, cases};
use crate::x87::{After, Host, random_control};
use crate::x87_host;
use softfloat::x87;
use softfloat::{Class, Env, F80, Flags};
use std::arch::asm;

x87_host!(fsin, "fsin");
x87_host!(fcos, "fcos");
x87_host!(fsincos, "fsincos");
x87_host!(fptan, "fptan");
x87_host!(fpatan, "fpatan");
x87_host!(f2xm1, "f2xm1");
x87_host!(fyl2x, "fyl2x");
x87_host!(fyl2xp1, "fyl2xp1");

/// Distance in units in the last place, for results of one sign.
fn ulps(a: F80, b: F80) -> u128 {
    let key = |v: F80| {
        let magnitude =
            (u128::from(v.exponent()) << 63) + u128::from(v.significand & (u64::MAX >> 1));
        magnitude as i128 * if v.is_negative() { -1 } else { 1 }
    };
    if a == b {
        return 0;
    }
    let special = |v: F80| matches!(v.class(), Class::Nan | Class::Unsupported | Class::Infinity);
    if special(a) || special(b) {
        return u128::MAX;
    }
    (key(a) - key(b)).unsigned_abs()
}

/// Tallies how far apart results are.
#[derive(Default)]
struct Distances {
    same: u64,
    one: u64,
    far: u64,
    other_c1: u64,
}

impl Distances {
    fn count(&mut self, distance: u128) -> bool {
        match distance {
            0 => self.same += 1,
            1 => self.one += 1,
            _ => self.far += 1,
        }
        distance <= 1
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: {} same, {} one unit apart, {} further; {} same with another C1",
            self.same, self.one, self.far, self.other_c1
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Domain {
    /// Angles.
    Trigonometric,
    /// From -1 to 1.
    Unit,
    /// Two operands of any kind.
    Pair,
    /// ST(1) of any kind, ST(0) around one.
    Logarithm,
    /// ST(1) of any kind, ST(0) around zero.
    LogarithmPlus1,
}

fn operands(random: &mut Random, domain: Domain) -> (F80, F80) {
    let any = random.f80();
    if random.one_in(4) {
        return (any, random.f80_near(any));
    }
    let significand = random.pattern() | 1 << 63;
    let sign = random.one_in(2);
    let st0 = match domain {
        Domain::Trigonometric => {
            F80::from_parts(sign, 0x3fff - 40 + random.below(108) as u16, significand)
        }
        Domain::Unit => F80::from_parts(sign, 0x3fff - 1 - random.below(70) as u16, significand),
        Domain::Pair => random.f80_near(any),
        Domain::Logarithm => {
            F80::from_parts(false, 0x3fff - 3 + random.below(6) as u16, significand)
        }
        Domain::LogarithmPlus1 => {
            F80::from_parts(sign, 0x3fff - 2 - random.below(70) as u16, significand)
        }
    };
    (st0, any)
}

struct Outcome {
    results: [F80; 2],
    partial: bool,
}

fn check(name: &str, domain: Domain, host: Host, ours: impl Fn(&mut Env, F80, F80) -> Outcome) {
    let mut random = Random::new(0x7a5);
    let mut report = Report::new(name);
    let mut distances = Distances::default();
    for _ in 0..cases(30) {
        let (st0, st1) = operands(&mut random, domain);
        for fcw in [0x37f, 0x77f, 0xb7f, 0xf7f, random_control(&mut random)] {
            let mut env = Env::from_fcw(fcw);
            let got = ours(&mut env, st0, st1);
            let after = host(fcw, st0, st1, [0; 16]);
            let mut theirs = [after.st(0), after.st(1)];
            let partial = after.fsw() & 0x400 != 0;
            // Where the result rounds to the least normal number AMD's processors (Zen 4) and softfloat report underflow, Intel's
            // (Rocket Lake) do not.
            let least = |v: F80| v.exponent() == 1 && v.significand == 1 << 63;
            if env.flags.bits() ^ after.flags().bits() == Flags::UE.bits()
                && theirs.into_iter().any(least)
            {
                continue;
            }
            let mut results = got.results;
            if !env.suppresses_result() {
                if matches!(
                    domain,
                    Domain::Pair | Domain::Logarithm | Domain::LogarithmPlus1
                ) {
                    // The instruction popped: ST(1) is empty.
                    theirs[1] = F80::ZERO;
                }
                for (mine, their) in results.iter_mut().zip(theirs) {
                    if distances.count(ulps(*mine, their)) {
                        *mine = their;
                    }
                }
                if got.results == theirs && env.roundup != after.c1() {
                    distances.other_c1 += 1;
                }
            } else {
                results = [st0, st1];
            }
            report.check(
                (results, env.flags, got.partial),
                (theirs, after.flags(), partial),
                || format!("st0 {st0:?} st1 {st1:?} fcw {fcw:#x}"),
            );
        }
    }
    distances.print(name);
    report.finish();
}

#[test]
fn sine() {
    check(
        "fsin",
        Domain::Trigonometric,
        fsin,
        |env, a, b| match x87::sin(env, a) {
            Some(value) => Outcome {
                results: [value, b],
                partial: false,
            },
            None => Outcome {
                results: [a, b],
                partial: true,
            },
        },
    );
}

#[test]
fn cosine() {
    check(
        "fcos",
        Domain::Trigonometric,
        fcos,
        |env, a, b| match x87::cos(env, a) {
            Some(value) => Outcome {
                results: [value, b],
                partial: false,
            },
            None => Outcome {
                results: [a, b],
                partial: true,
            },
        },
    );
}

#[test]
fn sine_and_cosine() {
    check(
        "fsincos",
        Domain::Trigonometric,
        fsincos,
        |env, a, b| match x87::sincos(env, a) {
            Some((sin, cos)) => Outcome {
                results: [cos, sin],
                partial: false,
            },
            None => Outcome {
                results: [a, b],
                partial: true,
            },
        },
    );
}

#[test]
fn tangent() {
    check(
        "fptan",
        Domain::Trigonometric,
        fptan,
        |env, a, b| match x87::tan(env, a) {
            Some(value) => {
                let pushed = if value.class() == Class::Nan {
                    value
                } else {
                    F80::ONE
                };
                Outcome {
                    results: [pushed, value],
                    partial: false,
                }
            }
            None => Outcome {
                results: [a, b],
                partial: true,
            },
        },
    );
}

#[test]
fn arctangent() {
    check("fpatan", Domain::Pair, fpatan, |env, x, y| {
        let value = x87::patan(env, y, x);
        Outcome {
            results: [value, F80::ZERO],
            partial: false,
        }
    });
}

#[test]
fn power() {
    check("f2xm1", Domain::Unit, f2xm1, |env, a, b| {
        let value = x87::f2xm1(env, a);
        Outcome {
            results: [value, b],
            partial: false,
        }
    });
}

#[test]
fn logarithm() {
    check("fyl2x", Domain::Logarithm, fyl2x, |env, x, y| {
        let value = x87::yl2x(env, y, x);
        Outcome {
            results: [value, F80::ZERO],
            partial: false,
        }
    });
}

#[test]
fn logarithm_plus_1() {
    check("fyl2xp1", Domain::LogarithmPlus1, fyl2xp1, |env, x, y| {
        let value = x87::yl2xp1(env, y, x);
        Outcome {
            results: [value, F80::ZERO],
            partial: false,
        }
    });
}

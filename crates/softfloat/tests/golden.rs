//! The transcendental instructions against correctly rounded results (made by `golden/generate.py`): the same bits everywhere,
//! on every host.

use softfloat::{Env, F80, Rounding, x87};

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

//! The generator: same cases for the same seed, most of them meeting memory, all rows reached.

use super::*;
use crate::native::Native;
use std::collections::HashSet;

#[test]
fn a_case_is_a_function_of_seed_and_index() {
    let (mut a, mut b) = (Generator::new(7), Generator::new(7));
    b.case(3);
    for index in 0..200 {
        let (x, y) = (a.case(index), b.case(index));
        assert_eq!(format!("{x:?}"), format!("{y:?}"));
    }
}

#[test]
fn every_row_is_reached() {
    let mut generator = Generator::new(1);
    let all: HashSet<Code> = MODES
        .iter()
        .flat_map(|&b| generator.codes(b).to_vec())
        .collect();
    let mut seen = HashSet::new();
    for index in 0..150_000 {
        if let Some((_, i)) = generator.case(index) {
            seen.insert(i.code());
        }
    }
    let missing: Vec<_> = all.difference(&seen).collect();
    println!("{} rows, missing {missing:?}", all.len());
    assert!(missing.len() * 100 < all.len());
}

#[test]
fn most_cases_end_without_a_fault() {
    let Ok(mut native) = Native::new() else {
        println!("skipped: no native oracle on this host");
        return;
    };
    let mut generator = Generator::new(2);
    let cases: Vec<_> = (0..20_000)
        .filter_map(|index| generator.case(index))
        .collect();
    let batch: Vec<_> = cases.iter().map(|c| c.0.clone()).collect();
    let start = std::time::Instant::now();
    let out = native.run(&batch);
    println!(
        "{:.2} us a case",
        start.elapsed().as_secs_f64() * 1e6 / batch.len() as f64
    );
    let mut by_vector = [0u32; 32];
    let mut faulted = 0;
    for (out, (case, i)) in out.iter().zip(&cases) {
        match out {
            Ok(out) => {
                if let Some(fault) = out.fault {
                    faulted += 1;
                    by_vector[usize::from(fault.vector & 31)] += 1;
                }
            }
            Err(why) => println!("case {} {i}: {why} {:x?}", case.index, case.code),
        }
    }
    println!("{faulted} of {} fault: {by_vector:?}", batch.len());
    assert!(faulted * 3 < batch.len(), "the generator aims badly");
    assert!(out.iter().all(Result::is_ok));
}

//! One test for each guest program and engine: it must pass, and skip nothing.

mod common;

use bus::{ResetSource, StopReason};
use machine::EngineKind;
use std::path::Path;
use std::time::Duration;

/// No program takes more than a second or two; an emulated host is slower.
const LIMIT: Duration = Duration::from_secs(120);

fn run(program: &str, engine: EngineKind) -> common::Outcome {
    // Two engines' tests of a program run at the same time: each has its own file.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("images-{engine:?}"));
    let image = guest_tests::image(program, &directory).unwrap_or_else(|error| panic!("{error}"));
    common::converse(&common::config(image, "max", engine), LIMIT, None)
}

fn passes(program: &str, engine: EngineKind) {
    ends(program, engine, StopReason::DebugExit(0));
}

/// For programs that end in a reset: they print that they passed just before.
fn resets(program: &str, engine: EngineKind) {
    ends(program, engine, StopReason::Reset(ResetSource::TripleFault));
}

fn ends(program: &str, engine: EngineKind, reason: StopReason) {
    let outcome = run(program, engine);
    let output = &outcome.output;
    assert_eq!(outcome.reason, Some(reason), "{program} printed:\n{output}");
    assert!(
        output.lines().any(|line| line == format!("PASS {program}")),
        "{program} printed:\n{output}"
    );
    let skipped = output.lines().find(|line| line.starts_with("SKIP "));
    assert_eq!(skipped, None, "Ferry has all that the programs try");
}

macro_rules! programs {
    ($($check:ident: $($name:ident)*;)*) => {
        mod eval {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), EngineKind::Eval);
                }
            )*)*
        }

        #[cfg(target_arch = "x86_64")]
        mod jit {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), EngineKind::Jit);
                }
            )*)*
        }

        #[test]
        fn each_program_has_a_test() {
            let tested: std::collections::BTreeSet<&str> = [$($(stringify!($name),)*)*].into();
            let programs = guest_tests::programs().expect("the sources");
            let all = programs.iter().map(String::as_str).collect();
            assert_eq!(tested, all);
        }
    };
}

programs! {
    passes:
        align_check
        apic
        apic_timer
        debug
        double
        gates32
        gates64
        hello
        hpet_i8042
        modes
        paging32
        paging64
        paging_pae
        pic
        rep
        reserved32
        reserved64
        segments
        smap_implicit
        smc
        smep_smap
        strict
        strict64
        strict_traps
        syscall
        task
        tlb
        traps
        v86
        ;
    resets:
        triple_resets
        ;
}

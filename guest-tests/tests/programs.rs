//! One test for each guest program and way to run it: it must pass, and skip nothing.

mod common;

use bus::{ResetSource, StopReason};
use machine::{EngineKind, OnReset};
use std::path::Path;
use std::time::Duration;

/// No program takes more than a second or two; an emulated host that others use as well is slower by far.
const LIMIT: Duration = Duration::from_secs(600);

/// How a program is run.
#[derive(Clone, Copy, Debug)]
enum Way {
    Eval,
    /// Everything is translated at once: programs are too short to wait for that.
    #[cfg(target_arch = "x86_64")]
    Jit,
    /// The translator with every optimisation switched off.
    #[cfg(target_arch = "x86_64")]
    Plain,
    /// Every loop is compiled as a region as soon as it is translated.
    #[cfg(target_arch = "x86_64")]
    Regions,
    /// The translator, compared with the evaluator block by block.
    #[cfg(target_arch = "x86_64")]
    Verify,
}

impl Way {
    fn apply(self, config: &mut machine::Config) {
        #[cfg(target_arch = "x86_64")]
        if let Self::Plain = self {
            for switch in machine::JIT_SWITCHES {
                assert!(config.jit.switch_off(switch.name));
            }
        }
        #[cfg(target_arch = "x86_64")]
        if let Self::Verify = self {
            config.jit.verify = true;
        }
        #[cfg(target_arch = "x86_64")]
        if let Self::Jit | Self::Regions = self {
            assert!(config.jit.switch_off("no-warm-up"));
        }
        #[cfg(target_arch = "x86_64")]
        if let Self::Regions = self {
            (config.jit.tier_threshold, config.jit.jit_threads) = (0, 0);
        }
        config.engine = match self {
            Self::Eval => EngineKind::Eval,
            #[cfg(target_arch = "x86_64")]
            Self::Jit | Self::Plain | Self::Regions | Self::Verify => EngineKind::Jit,
        };
    }
}

fn passes(program: &str, way: Way) {
    ends(program, way, OnReset::Stop, StopReason::DebugExit(0));
}

/// For programs that end in a reset: they print that they passed just before.
fn resets(program: &str, way: Way) {
    let source = match program {
        "triple_resets" => ResetSource::TripleFault,
        "i8042_resets" => ResetSource::Keyboard,
        "cf9_resets" => ResetSource::ResetControl,
        "port92_resets" => ResetSource::FastReset,
        other => panic!("say who resets {other}"),
    };
    ends(program, way, OnReset::Stop, StopReason::Reset(source));
}

/// For programs that reset the machine and pass at their second boot.
fn reboots(program: &str, way: Way) {
    ends(program, way, OnReset::Restart, StopReason::DebugExit(0));
}

fn ends(program: &str, way: Way, on_reset: OnReset, reason: StopReason) {
    // Two engines' tests of a program run at the same time: each has its own file.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("images-{way:?}"));
    let image = guest_tests::image(program, &directory).unwrap_or_else(|error| panic!("{error}"));
    let mut config = common::config(image, "max", EngineKind::default());
    way.apply(&mut config);
    config.on_reset = on_reset;
    let outcome = common::converse(&config, LIMIT, None);
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
                    $check(stringify!($name), Way::Eval);
                }
            )*)*
        }

        #[cfg(target_arch = "x86_64")]
        mod jit {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), Way::Jit);
                }
            )*)*
        }

        #[cfg(target_arch = "x86_64")]
        mod plain {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), Way::Plain);
                }
            )*)*
        }

        #[cfg(target_arch = "x86_64")]
        mod regions {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), Way::Regions);
                }
            )*)*
        }

        #[cfg(target_arch = "x86_64")]
        mod verify {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $check(stringify!($name), Way::Verify);
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
        cpuid
        debug
        double
        fetch
        gates32
        gates64
        hello
        hpet_i8042
        loops
        modes
        paging32
        paging64
        paging_pae
        pic
        preempt
        rep
        reserved32
        reserved64
        segments
        smap_implicit
        smc
        smep_smap
        strict
        strict64
        strict_system
        strict_traps
        syscall
        system64
        task
        tlb
        traps
        v86
        ;
    resets:
        cf9_resets
        i8042_resets
        port92_resets
        triple_resets
        ;
    reboots:
        second_boot_reboots
        ;
}

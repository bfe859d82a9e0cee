//! `cargo xtask kvm-unit-tests`: the x86 tests of kvm-unit-tests under Ferry and, for comparison, under QEMU's TCG.
//!
//! They are small kernels that check a processor and a board against Intel's and AMD's manuals, written for KVM. The list of them is
//! `x86/unittests.cfg` in their tree: sections with a name, of `key = value` lines. What needs KVM itself or virtualisation inside the
//! guest is left out; what wants several processors runs on one.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::guest;

/// Run kvm-unit-tests (a built checkout) under Ferry
#[derive(clap::Args)]
pub struct Args {
    /// The tree of kvm-unit-tests, after its `./configure` and `make`
    tree: PathBuf,
    /// Only the tests of these names
    tests: Vec<String>,
    /// Run each under QEMU's TCG as well; then only what fails in Ferry alone is a failure
    #[arg(long)]
    compare: bool,
    /// Ferry; without it the release build
    #[arg(long, value_name = "FILE")]
    ferry: Option<PathBuf>,
    /// Seconds that a test may take
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Print what each failed test printed
    #[arg(long)]
    show: bool,
}

/// Groups whose tests need KVM's paravirtual interfaces, or VMX or SVM in the guest.
const OTHERS: [&str; 5] = ["vmx", "svm", "hyperv", "nested_exception", "nodefault"];
/// The same of tests without a group, by file; and `realmode` and `s3`, which want a BIOS beside a multiboot kernel: its timer interrupt, and
/// its way back from sleep.
const OTHER_FILES: [&str; 8] = [
    "asyncpf",
    "hypercall",
    "intel-iommu",
    "kvmclock_test",
    "realmode",
    "s3",
    "svm_npt",
    "vmware_backdoors",
];

/// One section of `unittests.cfg`.
#[derive(Default)]
struct Test {
    name: String,
    keys: BTreeMap<String, String>,
}

impl Test {
    fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", |v| v.trim_matches('"'))
    }

    /// Whether it is for a PC as such.
    fn is_for_a_pc(&self) -> bool {
        let file = self.get("file").trim_end_matches(".flat");
        self.get("accel") != "kvm"
            && self.get("arch") != "i386"
            && !self.get("groups").split(' ').any(|g| OTHERS.contains(&g))
            && !OTHER_FILES.contains(&file)
            && !self.get("test_args").contains('`')
            && !matches!(self.get("test_args"), "vmcall" | "ipi" | "ipi_halt")
    }
}

/// How a test ended.
enum Verdict {
    Passed,
    /// It said that the machine lacks what it tests.
    Skipped,
    /// That many checks failed.
    Failed(usize),
    /// It ended without a result: an exception that it did not expect, a refusal to start.
    Died,
    TimedOut,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&match self {
            Self::Passed => "passed".to_owned(),
            Self::Skipped => "skipped".to_owned(),
            Self::Failed(checks) => format!("failed {checks}"),
            Self::Died => "died".to_owned(),
            Self::TimedOut => "timed out".to_owned(),
        })
    }
}

impl Verdict {
    fn is_bad(&self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let list = args.tree.join("x86/unittests.cfg");
    let text = std::fs::read_to_string(&list).with_context(|| {
        format!(
            "cannot read {}; is this a tree of kvm-unit-tests?",
            list.display()
        )
    })?;
    let tests = select(parse(&text), &args.tests)?;
    if args.compare {
        guest::need_qemu()?;
    }
    let ferry = guest::ferry_or(&args.ferry)?;
    let limit = Duration::from_secs(args.timeout);
    let (mut bad, mut passed, mut ran) = (0, 0, 0);
    for test in &tests {
        let image = args.tree.join("x86").join(test.get("file"));
        if !image.exists() {
            println!("{:<28} not built", test.name);
            continue;
        }
        ran += 1;
        let (verdict, said) = watch(&mut own(&ferry, &image, test), limit)?;
        let (theirs, line) = match args.compare {
            true => {
                let verdict = watch(&mut qemu(&image, test), limit)?.0;
                let line = format!("  QEMU {verdict}");
                (Some(verdict), line)
            }
            false => (None, String::new()),
        };
        println!("{:<28} {verdict:<10}{line}", test.name);
        passed += usize::from(matches!(verdict, Verdict::Passed));
        if verdict.is_bad() {
            bad += usize::from(theirs.is_none_or(|v| !v.is_bad()));
            for line in said
                .lines()
                .filter(|line| args.show || line.starts_with("FAIL"))
            {
                println!("    {line}");
            }
        }
    }
    ensure!(
        ran > 0,
        "none of the {} tests is built in {}: run its ./configure and make",
        tests.len(),
        args.tree.display()
    );
    let against = if args.compare {
        " that QEMU passes"
    } else {
        ""
    };
    println!("{passed} of {ran} passed, {bad} failed{against}");
    Ok(match bad {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The sections of a `unittests.cfg`.
fn parse(text: &str) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            tests.push(Test {
                name: name.into(),
                ..Test::default()
            });
        } else if let (Some(test), Some((key, value))) = (tests.last_mut(), line.split_once('=')) {
            test.keys.insert(key.trim().into(), value.trim().into());
        }
    }
    tests
}

/// The tests of these names, or all that are for a PC.
fn select(all: Vec<Test>, names: &[String]) -> Result<Vec<Test>> {
    if let Some(name) = names.iter().find(|n| all.iter().all(|t| t.name != **n)) {
        let known: Vec<_> = all.iter().map(|t| t.name.as_str()).collect();
        bail!("there is no test {name:?}; there are {}", known.join(", "));
    }
    let wanted = |t: &Test| match names {
        [] => t.is_for_a_pc(),
        names => names.contains(&t.name),
    };
    Ok(all.into_iter().filter(wanted).collect())
}

fn own(ferry: &Path, image: &Path, test: &Test) -> Command {
    let mut c = Command::new(ferry);
    c.args([
        "run",
        "--testdev",
        "--debug-exit",
        "--no-reboot",
        "--memory",
        "512M",
    ]);
    c.arg("--kernel").arg(image);
    with_arguments(&mut c, "--append", test);
    c
}

fn qemu(image: &Path, test: &Test) -> Command {
    let mut c = Command::new(guest::QEMU);
    c.args("-M pc -accel tcg -m 512M -display none -no-reboot -nodefaults".split(' '));
    c.args("-serial stdio -device pc-testdev -device pci-testdev".split(' '));
    c.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-cpu"]);
    let parameters: Vec<_> = test.get("qemu_params").split(' ').collect();
    let cpu = parameters
        .windows(2)
        .find(|w| w[0] == "-cpu")
        .map_or("max", |w| w[1]);
    // TCG has no processor that is the host's.
    let cpu: Vec<_> = cpu
        .split(',')
        .filter(|part| !part.starts_with("host-") && *part != "migratable=no")
        .map(|part| if part == "host" { "max" } else { part })
        .collect();
    c.arg(cpu.join(","));
    c.arg("-kernel").arg(image);
    with_arguments(&mut c, "-append", test);
    c
}

fn with_arguments(c: &mut Command, option: &str, test: &Test) {
    let arguments = test.get("test_args").trim_matches('\'');
    if !arguments.is_empty() {
        c.args([option, arguments]);
    }
}

/// Runs a machine to its end; its verdict, and what the test printed.
fn watch(command: &mut Command, limit: Duration) -> Result<(Verdict, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut output = child.stdout.take().context("no output")?;
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What came before an error still counts.
        let _ = output.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = reader.join().unwrap_or_default();
    Ok((verdict(status.map(|s| s.code()), &said), said))
}

/// What a test's exit status (`None`: it was stopped) and output mean: it leaves through port 0xF4, which makes `v << 1 | 1` of its status.
fn verdict(status: Option<Option<i32>>, said: &str) -> Verdict {
    let failed = said.lines().filter(|line| line.starts_with("FAIL")).count();
    match status {
        None => Verdict::TimedOut,
        Some(Some(1)) => Verdict::Passed,
        Some(Some(77)) => Verdict::Skipped,
        Some(Some(3)) => Verdict::Failed(failed),
        Some(_) => Verdict::Died,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# comment\n[one]\nfile = one.flat\n#smp = 2\n[two]\nfile = one.flat\ntest_args = 'a b'\nqemu_params = -cpu host,+x -m 1g\n\
        [three]\nfile = x.flat\ngroups = vmx fast\n[four]\nfile = x.flat\naccel = kvm\n";

    #[test]
    fn the_list_is_read_and_what_needs_kvm_is_left_out() {
        let names = |tests: Vec<Test>| tests.into_iter().map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(names(select(parse(LIST), &[]).unwrap()), ["one", "two"]);
        assert_eq!(
            names(select(parse(LIST), &["four".into()]).unwrap()),
            ["four"]
        );
        let error = select(parse(LIST), &["five".into()]).err().unwrap();
        assert!(error.to_string().contains("one, two, three, four"));
    }

    #[test]
    fn machines_get_the_arguments() {
        let tests = parse(LIST);
        let c = qemu(Path::new("k"), &tests[1]);
        let arguments: Vec<_> = c.get_args().map(|a| a.to_string_lossy()).collect();
        assert!(arguments.windows(2).any(|w| w == ["-cpu", "max,+x"]));
        assert!(arguments.windows(2).any(|w| w == ["-append", "a b"]));
        let c = own(Path::new("f"), Path::new("k"), &tests[0]);
        assert!(c.get_args().all(|a| a != "--append"));
    }

    #[test]
    fn statuses_have_meanings() {
        assert!(matches!(verdict(Some(Some(1)), ""), Verdict::Passed));
        assert!(matches!(
            verdict(Some(Some(3)), "FAIL: a\nPASS\nFAIL: b"),
            Verdict::Failed(2)
        ));
        assert!(verdict(Some(None), "").is_bad() && verdict(None, "").is_bad());
        assert!(!verdict(Some(Some(77)), "").is_bad());
    }
}

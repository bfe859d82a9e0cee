//! Every wrong invocation ends with status 2 and says what is wrong and what would be accepted; nothing is left behind.

mod common;

use common::{Running, Scratch, kernel, program};
use std::path::Path;
use std::process::{Output, Stdio};

fn ferry(args: &[&str]) -> Output {
    program().args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn wrong_invocations_are_refused_by_name() {
    let dir = Scratch::new("refusals");
    let k = dir.file("kernel", &kernel(b"\xfa\xf4\xeb\xfd"));
    let text = dir.file("text", b"hello, world\n");
    let empty = dir.file("empty", b"");
    let gzip = dir.file("gzip", b"\x1f\x8b\x08\0\0\0\0\0");
    let large = dir.file("large", &vec![1; 9 << 20]);
    let missing = dir.path("missing");
    let folder = dir.path("");
    let nowhere = format!("file:{}", dir.path("no/such/folder"));
    let taken = format!("unix:{text}");
    let long = "x".repeat(70_000);

    let cases: &[(&[&str], &[&str])] = &[
        (&["--initrd", &k], &["--initrd", "accepted with --kernel"]),
        (
            &["--firmware", "coreboot"],
            &["--firmware", "no firmware 'coreboot'", "seabios and ovmf"],
        ),
        (
            &["--firmware", "/dev/null"],
            &["firmware image /dev/null", "0 bytes", "multiples of 4096"],
        ),
        (&["--firmware", "/"], &["the firmware / is a directory"]),
        (
            &["--firmware", "seabios", "--boot", "cdrom,net"],
            &["--boot", "'net'", "disk, cdrom and floppy"],
        ),
        (
            &["--firmware", "seabios", "--boot", "disk,disk"],
            &["--boot", "'disk' is named twice"],
        ),
        (
            &["--kernel", "x", "--boot", "disk"],
            &["--boot", "--firmware"],
        ),
        (
            &["--firmware", "seabios", "--fw-cfg", "x"],
            &["--fw-cfg", "NAME=FILE"],
        ),
        (
            &["--kernel", "x", "--debugcon", "0x60=x"],
            &["--debugcon", "port 0x60 cannot be", "0x402=bios.log"],
        ),
        (
            &["--kernel", "x", "--pflash-vars", "x"],
            &["--pflash-vars", "accepted with --firmware"],
        ),
        (&["--kernel", &k, "--bogus"], &["--bogus"]),
        (
            &["--kernel", &missing],
            &["missing", "No such file", "accepted is a readable file"],
        ),
        (
            &["--kernel", &folder],
            &["is a directory", "accepted is a file"],
        ),
        (
            &["--kernel", &empty],
            &["the file is empty", "accepted are a Linux bzImage"],
        ),
        (
            &["--kernel", &text],
            &[
                "not a kernel",
                "68 65 6c 6c 6f",
                "accepted are a Linux bzImage",
            ],
        ),
        (
            &["--kernel", &gzip],
            &["gzip-compressed: decompress it first"],
        ),
        (
            &["--kernel", &k, "--initrd", &missing],
            &["initrd", "missing", "No such file"],
        ),
        (
            &["--kernel", &k, "--initrd", &empty],
            &["initrd", "empty is empty"],
        ),
        (
            &["--kernel", &k, "--initrd", &large, "--memory", "8M"],
            &["more than the 8388608 bytes"],
        ),
        (
            &["--kernel", &k, "--initrd", &large, "--memory", "9M"],
            &["9437184 bytes", "are left for it"],
        ),
        (
            &["--kernel", &k, "--append", &long],
            &["70000 bytes", "accepts 65"],
        ),
        (
            &["--kernel", &k, "--memory", "lots"],
            &["--memory", "'lots' is not a size", "512M"],
        ),
        (&["--kernel", &k, "--memory", "512"], &["'512' has no unit"]),
        (
            &["--kernel", &k, "--memory", "0M"],
            &["0M is too little", "4M to 256G"],
        ),
        (
            &["--kernel", &k, "--memory", "99T"],
            &["99T is too much", "4M to 256G"],
        ),
        (&["--kernel", &k, "--cpus", "0"], &["needs a processor"]),
        (
            &["--kernel", &k, "--cpus", "4"],
            &["4 processors cannot be had", "accepted is 1"],
        ),
        (
            &["--kernel", &k, "--cpus", "one"],
            &["'one' is not a number"],
        ),
        (&["--kernel", &k, "--cpu", "z80"], &["'z80'", "x86-64-v2"]),
        (
            &["--kernel", &k, "--engine", "magic"],
            &["'magic'", "accepted is eval"],
        ),
        (
            &["--kernel", &k, "--engine", "eval", "--jit", "no-chain"],
            &["--jit", "no translator", "--engine jit"],
        ),
        (
            &["--kernel", &k, "--engine", "eval", "--verify"],
            &["--verify", "no translator", "--engine jit"],
        ),
        (
            &["--kernel", &k, "--serial", "tcp:80"],
            &["'tcp:80'", "stdio, null, file:PATH and unix:PATH"],
        ),
        (
            &["--kernel", &k, "--serial", "file:"],
            &["'file:' has no path"],
        ),
        (
            &["--kernel", &k, "--serial", &nowhere],
            &["cannot write", "No such file"],
        ),
        (
            &["--kernel", &k, "--serial", &taken],
            &["cannot listen on", "in use"],
        ),
        (
            &["--kernel", &k, "--stats=xml"],
            &["'xml'", "text and json"],
        ),
        (
            &["--kernel", &k, "--trace", "port,colour"],
            &["'colour'", "exception"],
        ),
    ];
    for (args, wanted) in cases {
        let out = ferry(&[&["run"], *args].concat());
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(out.stdout.is_empty(), "{args:?} wrote to standard output");
        for want in *wanted {
            assert!(said.contains(want), "{args:?}: {said:?} lacks {want:?}");
        }
    }
}

/// Options of the translator, where there is one.
#[cfg(target_arch = "x86_64")]
#[test]
fn wrong_options_of_the_translator_are_refused_by_name() {
    let dir = Scratch::new("refusals-jit");
    let nowhere = dir.path("no/such/folder");
    let k = dir.file("kernel", &kernel(b"\xfa\xf4\xeb\xfd"));
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--jit", "no-chain,no-magic"],
            &["--jit", "'no-magic'", "no-jump-cache", "no-simd"],
        ),
        (&["--jit", ""], &["''", "no-chain"]),
        (&["--engine", "magic"], &["accepted is eval and jit"]),
        (
            &["--dump", "asm"],
            &["--dump", "'asm'", "guest, clif and host"],
        ),
        (
            &["--jit-threads", "65"],
            &["--jit-threads", "65 threads", "0 to 64"],
        ),
        (
            &["--tier-threshold", "1", "--engine", "eval"],
            &["--tier-threshold", "no translator"],
        ),
        (
            &["--dump", "guest:main"],
            &["'main' is not an address", "hexadecimal"],
        ),
        (&["--dump", "host:2000-1fff"], &["0x1fff is before 0x2000"]),
        (
            &["--dump-file", "x"],
            &["--dump-file", "accepted with --dump"],
        ),
        (
            &["--dump", "host", "--dump-file", &nowhere],
            &["cannot write", "no/such/folder", "No such file"],
        ),
        (
            &["--perf-map", "--symbols", &nowhere],
            &["--symbols", "No such file", "System.map"],
        ),
        (
            &["--perf-map", "--symbols", &k],
            &["--symbols", "line 1", "accepted is a System.map"],
        ),
        (
            &["--symbols", &k],
            &["--symbols", "accepted with --perf-map, --dump or --profile"],
        ),
        (
            &["--code-cache", "100K"],
            &["--code-cache", "100K is too little", "1M to 2G"],
        ),
        (
            &["--code-cache", "4M", "--engine", "eval"],
            &["--code-cache", "no translator"],
        ),
    ];
    for (args, wanted) in cases {
        let out = ferry(&[&["run", "--kernel", &k], *args].concat());
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        for want in *wanted {
            assert!(said.contains(want), "{args:?}: {said:?} lacks {want:?}");
        }
    }
}

#[test]
fn a_refused_kernel_creates_no_serial_file() {
    let dir = Scratch::new("order");
    let text = dir.file("text", b"hello");
    let serial = dir.path("serial.log");
    let out = ferry(&[
        "run",
        "--kernel",
        &text,
        "--serial",
        &format!("file:{serial}"),
    ]);
    assert_eq!(out.status.code(), Some(2));
    assert!(!Path::new(&serial).exists());
}

#[test]
fn lists_are_printed_on_request() {
    for (args, want) in [
        (["--cpu", "help"], "x86-64-v2"),
        (["--trace", "help"], "exception"),
        (["--jit", "help"], "no-chain"),
    ] {
        let out = ferry(&[&["run", "--kernel", "any"][..], &args].concat());
        assert_eq!(out.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&out.stdout).contains(want));
    }
}

#[test]
fn help_is_as_reviewed() {
    let out = program()
        .args(["run", "--help"])
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(out.status.success());
    insta::assert_snapshot!("run_help", String::from_utf8(out.stdout).unwrap());
}

#[test]
fn a_signal_ends_a_run_in_order() {
    let dir = Scratch::new("signals");
    let k = dir.file("kernel", &kernel(b"\xfa\xf4\xeb\xfd"));
    let socket = dir.path("line.sock");
    for (signal, name, status) in [
        (rustix::process::Signal::INT, "int", 130),
        (rustix::process::Signal::TERM, "term", 143),
    ] {
        let mut run = Running(
            program()
                .args(["run", "--kernel", &k, "--serial", &format!("unix:{socket}")])
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
        // The socket is there before signals are caught, so a connection that was accepted is waited for.
        let connected = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        assert!(connected.is_some(), "{name}: nobody listens");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let pid = rustix::process::Pid::from_child(&run.0);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(run.0.wait().unwrap().code(), Some(status), "{name}");
        assert!(
            !Path::new(&socket).exists(),
            "{name}: the socket is left behind"
        );
    }
}

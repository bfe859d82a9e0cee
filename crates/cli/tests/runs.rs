//! Whole runs of small programs: exit status, messages, the serial line in all its forms, reset, and what an idle guest costs.

mod common;

use common::{Running, Scratch, kernel, program};
use rustix::termios::{self, Termios};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `mov dx, port; mov al, value; out dx, al`.
fn out8(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x66, 0xba, low, high, 0xb0, value, 0xee]
}

/// `mov dx, port; mov ax, value; out dx, ax`.
fn out16(port: u16, value: u16) -> Vec<u8> {
    let ([pl, ph], [vl, vh]) = (port.to_le_bytes(), value.to_le_bytes());
    vec![0x66, 0xba, pl, ph, 0x66, 0xb8, vl, vh, 0x66, 0xef]
}

/// `cli; hlt; jmp` back to the `hlt`.
const HALT: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];

/// Polls COM1 and echoes; on 'q' writes 21 to the debug exit.
const ECHO: &[u8] = &[
    0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
    0xec, // in al, dx
    0xa8, 0x01, // test al, 1
    0x74, 0xf7, // jz to the mov
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xec, // in al, dx
    0xee, // out dx, al
    0x3c, b'q', // cmp al, 'q'
    0x75, 0xed, // jne to the start
    0xb0, 0x15, // mov al, 21
    0xe6, 0xf4, // out 0xf4, al
    0xf4, // hlt
];

fn command(args: &[&str]) -> Command {
    let mut c = program();
    c.arg("run").args(args);
    c
}

/// Runs `code` with `args` and nothing on standard input.
fn run(name: &str, code: &[u8], args: &[&str]) -> Output {
    let dir = Scratch::new(name);
    let k = dir.file("kernel", &kernel(code));
    let mut c = command(&[&["--kernel", &k], args].concat());
    c.stdin(Stdio::null()).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn the_debug_exit_gives_the_status_and_the_serial_line_the_output() {
    let code = [
        out8(0x3f8, b'h'),
        out8(0x3f8, b'i'),
        out8(0xf4, 21),
        HALT.to_vec(),
    ]
    .concat();
    let out = run("exit", &code, &["--debug-exit"]);
    assert_eq!(
        (out.status.code(), &out.stdout[..]),
        (Some(43), &b"hi"[..]),
        "{}",
        said(&out)
    );
    assert_eq!(said(&out), "");
}

#[test]
fn without_debug_exit_the_port_is_nobodys() {
    let code = [out8(0xf4, 21), out16(0x604, 0x2000), HALT.to_vec()].concat();
    let out = run("noexit", &code, &[]);
    assert_eq!(out.status.code(), Some(0));
    assert!(said(&out).contains("powered off"), "{}", said(&out));
}

#[test]
fn every_reset_is_named_under_no_reboot() {
    // LIDT with an empty table, then UD2: the double fault faults as well.
    let triple =
        b"\x0f\x01\x1d\x30\x00\x10\x00\x0f\x0b\x90\x90\x90\x90\x90\x90\x90\0\0\0\0\0\0".to_vec();
    let cases = [
        ("triple", triple, "a triple fault"),
        ("i8042", out8(0x64, 0xfe), "the keyboard controller"),
        ("cf9", out8(0xcf9, 0x06), "port 0xCF9"),
        ("fast", out8(0x92, 0x01), "port 0x92"),
        ("acpi", out8(0x630, 0x0f), "the ACPI reset register"),
    ];
    for (name, reset, want) in cases {
        let out = run(name, &[reset, HALT.to_vec()].concat(), &["--no-reboot"]);
        assert_eq!(out.status.code(), Some(0), "{name}: {}", said(&out));
        assert!(said(&out).contains(want), "{name}: {}", said(&out));
    }
}

#[test]
fn a_reset_starts_the_kernel_anew() {
    // RAM outlives a reset: the first run leaves a mark at 2 MiB and resets, the second finds it.
    // cmp byte [0x200000], 1; je over what leaves the mark and resets
    let mut program = b"\x80\x3d\x00\x00\x20\x00\x01\x74".to_vec();
    let first = [
        b"\xc6\x05\x00\x00\x20\x00\x01".to_vec(), // mov byte [0x200000], 1
        out8(0x630, 0x0f),
        HALT.to_vec(),
    ]
    .concat();
    program.push(first.len() as u8);
    program.extend(first);
    program.extend(out8(0x3f8, b'2'));
    program.extend(out8(0xf4, 3));
    program.extend(HALT);
    let out = run("anew", &program, &["--debug-exit"]);
    assert_eq!(
        (out.status.code(), &out.stdout[..]),
        (Some(7), &b"2"[..]),
        "{}",
        said(&out)
    );
}

#[test]
fn a_pipe_feeds_the_guest_to_the_last_byte() {
    let dir = Scratch::new("pipe");
    let k = dir.file("kernel", &kernel(ECHO));
    let mut child = Running(
        command(&["--kernel", &k, "--debug-exit"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // More than the port and its queue hold.
    let mut sent = b"0123456789abcdef\n\x01x".repeat(4000);
    sent.push(b'q');
    let mut stdin = child.0.stdin.take().unwrap();
    let copy = sent.clone();
    let feed = std::thread::spawn(move || stdin.write_all(&copy));
    let mut back = Vec::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut back)
        .unwrap();
    feed.join().unwrap().unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(43));
    assert!(
        back == sent,
        "{} of {} bytes came back",
        back.len(),
        sent.len()
    );
}

#[test]
fn a_file_takes_the_output() {
    let dir = Scratch::new("file");
    let log = dir.path("log");
    let code = [out8(0x3f8, b'x'), out16(0x604, 0x2000), HALT.to_vec()].concat();
    let k = dir.file("kernel", &kernel(&code));
    let serial = format!("file:{log}");
    let out = command(&["--kernel", &k, "--serial", &serial])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert_eq!(std::fs::read(&log).unwrap(), b"x");
}

#[test]
fn output_that_cannot_be_written_is_host_trouble() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: there is no /dev/full");
        return;
    }
    let code = [out8(0x3f8, b'x'), HALT.to_vec()].concat();
    let out = run("full", &code, &["--serial", "file:/dev/full"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(said(&out).contains("serial output"), "{}", said(&out));
}

fn connect(path: &str) -> UnixStream {
    (0..500)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            UnixStream::connect(path).ok()
        })
        .expect("a listener on the socket")
}

#[test]
fn clients_of_a_socket_come_and_go() {
    let dir = Scratch::new("socket");
    let k = dir.file("kernel", &kernel(ECHO));
    let path = dir.path("line");
    // What a killed run left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut child = Running(
        command(&[
            "--kernel",
            &k,
            "--debug-exit",
            "--serial",
            &format!("unix:{path}"),
        ])
        .spawn()
        .unwrap(),
    );
    for text in [b"one", b"two"] {
        let mut client = connect(&path);
        client.write_all(text).unwrap();
        let mut back = [0; 3];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, text);
    }
    let mut last = connect(&path);
    last.write_all(b"q").unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(43));
    assert!(!Path::new(&path).exists());
}

#[test]
fn statistics_are_json_on_request() {
    let code = [out8(0xf4, 0), HALT.to_vec()].concat();
    let out = run("stats", &code, &["--debug-exit", "--stats=json"]);
    assert_eq!(out.status.code(), Some(1));
    let text = said(&out);
    assert!(
        text.starts_with('{') && text.contains("\"instructions\":"),
        "{text}"
    );
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(stats["cpu_seconds"].as_f64() > Some(0.0), "{text}");
    assert!(stats["mips"].as_f64() >= Some(0.0), "{text}");
    assert_eq!(stats["helpers"]["Out"], 1, "{text}");
    if cfg!(target_arch = "x86_64") {
        assert!(stats["engine"]["exits"]["evaluate"].is_u64(), "{text}");
        // Code that runs once is not worth a translation.
        assert_eq!(stats["engine"]["translated_share"], 0.0);
        let options = ["--debug-exit", "--stats=json", "--jit", "no-warm-up"];
        let text = said(&run("stats-hot", &code, &options));
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(stats["engine"]["translated_share"].as_f64() > Some(0.5));
    }
    // The same as text, a line a counter.
    let out = run("stats-text", &code, &["--debug-exit", "--stats"]);
    let lines = said(&out);
    let values = |text: &str| {
        let words = lines.lines().filter_map(|l| l.split_once(' '));
        let found = words.clone().find(|w| w.0 == text);
        found.map(|w| w.1.trim().to_string())
    };
    assert_eq!(values("helpers.Out").as_deref(), Some("1"), "{lines}");
    assert!(values("tlb_fills").is_some(), "{lines}");
}

/// Sums 1 to 100 with carries about, stores the sum, and exits with 0 in the debug exit.
#[cfg(target_arch = "x86_64")]
const SUM: &[u8] = &[
    0x31, 0xc0, // xor eax, eax
    0xb9, 100, 0, 0, 0,    // mov ecx, 100
    0xf9, // stc
    0x01, 0xc8, // add eax, ecx
    0x49, // dec ecx
    0x75, 0xfa, // jnz to the stc
    0xa3, 0x00, 0x00, 0x20, 0x00, // mov [0x200000], eax
    0xb0, 0x00, // mov al, 0
    0xe6, 0xf4, // out 0xf4, al
    0xf4, // hlt
];

#[cfg(target_arch = "x86_64")]
#[test]
fn both_engines_are_compared_on_request() {
    let out = run("verify", SUM, &["--debug-exit", "--verify", "--stats=json"]);
    let text = said(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    let v = &stats["engine"]["verify"];
    assert!(v["instructions"].as_u64() >= Some(400), "{text}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_wrong_translation_is_found_and_shown() {
    let out = run("sabotage", SUM, &["--debug-exit", "--verify", "--sabotage"]);
    let text = said(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    for want in [
        "ferry: the translator differs from the evaluator",
        "block at 0x100020",
        "add eax,ecx",
        "rax            000000002badb002                   0000000000000064                   0000000000000065",
    ] {
        assert!(text.contains(want), "{text}\nlacks {want}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn blocks_are_dumped_with_both_codes_side_by_side() {
    let dir = Scratch::new("dump-out");
    let file = dir.path("blocks");
    let map = dir.file("System.map", b"00100000 T start\n");
    let args = [
        &["--debug-exit", "--symbols", &map, "--dump-file", &file][..],
        &["--jit", "no-warm-up", "--dump", "guest,host:100020-100020"],
    ]
    .concat();
    let out = run("dump", SUM, &args);
    assert_eq!((out.status.code(), said(&out).as_str()), (Some(1), ""));
    let text = std::fs::read_to_string(&file).unwrap();
    let title = "block 0x100020 start+0x20, guest-physical 0x100020";
    assert!(text.starts_with(title), "{text}");
    let add = text.lines().find(|l| l.contains("add eax,ecx")).unwrap();
    assert!(add.starts_with("  100028  01c8"), "{text}");
    let (_, host) = add.split_once(" | ").unwrap();
    assert!(host.contains("mov qword ptr [rdi],64h"), "{text}");
    assert_eq!(text.matches("block ").count(), 1, "{text}");

    let args = ["--debug-exit", "--jit", "no-warm-up", "--dump", "guest"];
    let out = run("dump-guest", SUM, &args);
    let text = said(&out);
    assert!(
        text.contains("  100028  01c8                 add eax,ecx"),
        "{text}"
    );
    assert!(!text.contains(" | "), "{text}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn translated_code_is_named_for_perf() {
    let dir = Scratch::new("perf");
    let k = dir.file("kernel", &kernel(SUM));
    let symbols = dir.file("System.map", b"00100000 T start\n00100030 T rest\n");
    let args = [
        "--kernel",
        &k,
        "--debug-exit",
        "--jit",
        "no-warm-up",
        "--perf-map",
        "--symbols",
        &symbols,
    ];
    let mut child = Running(command(&args).stdin(Stdio::null()).spawn().unwrap());
    assert_eq!(child.0.wait().unwrap().code(), Some(1));
    let path = format!("/tmp/perf-{}.map", child.0.id());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        text.lines().any(|l| l.ends_with(" guest start+0x20")),
        "{text}"
    );
    for line in text.lines() {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        assert!(
            u64::from_str_radix(words[0], 16).unwrap() > 0xffff_ffff,
            "{line}"
        );
        assert!(u64::from_str_radix(words[1], 16).unwrap() > 0, "{line}");
    }
}

/// A pseudo-terminal and a run on it.
struct OnTerminal {
    master: std::fs::File,
    slave: std::fs::File,
    before: Termios,
    child: Running,
}

fn on_terminal(kernel: &str) -> OnTerminal {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = std::fs::File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let before = termios::tcgetattr(&slave).unwrap();
    let child = Running(
        command(&["--kernel", kernel, "--debug-exit"])
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap())
            .spawn()
            .unwrap(),
    );
    OnTerminal {
        master: master.into(),
        slave,
        before,
        child,
    }
}

impl OnTerminal {
    fn modes(&self) -> Termios {
        termios::tcgetattr(&self.slave).unwrap()
    }
    fn wait_for_raw(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        let canonical = || {
            self.modes()
                .local_modes
                .contains(termios::LocalModes::ICANON)
        };
        while canonical() {
            assert!(Instant::now() < end, "the terminal never became raw");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    fn assert_restored(&self) {
        let now = self.modes();
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(now.input_modes, self.before.input_modes);
    }
    fn read_until(&mut self, wanted: &[&str]) {
        let mut text = String::new();
        let mut buffer = [0; 256];
        while !wanted.iter().all(|want| text.contains(want)) {
            let n = self.master.read(&mut buffer).unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    }
}

#[test]
fn the_terminal_is_raw_during_a_run_and_restored_after_it() {
    let dir = Scratch::new("terminal");
    let k = dir.file("kernel", &kernel(ECHO));

    let mut t = on_terminal(&k);
    t.wait_for_raw();
    // Ctrl-C and Ctrl-A Ctrl-A are the guest's.
    t.master.write_all(b"a\x03\x01\x01b\x01h").unwrap();
    t.read_until(&["send Ctrl-A", "a\x03\x01b"]);
    t.master.write_all(b"\x01x").unwrap();
    assert_eq!(t.child.0.wait().unwrap().code(), Some(0));
    t.assert_restored();

    let mut t = on_terminal(&k);
    t.wait_for_raw();
    t.master.write_all(b"q").unwrap();
    assert_eq!(t.child.0.wait().unwrap().code(), Some(43));
    t.assert_restored();

    // A signal, as soon as the terminal is raw
    for _ in 0..10 {
        let mut t = on_terminal(&k);
        t.wait_for_raw();
        let pid = rustix::process::Pid::from_child(&t.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(t.child.0.wait().unwrap().code(), Some(143));
        t.assert_restored();
    }
}

/// Clock ticks of user and system time that the process has used (proc(5), stat, fields 14 and 15).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_halted_guest_costs_nothing() {
    if !Path::new("/proc/self/stat").exists() {
        eprintln!("skipped: there is no /proc/self/stat");
        return;
    }
    let dir = Scratch::new("idle");
    let k = dir.file("kernel", &kernel(HALT));
    let mut child = Running(
        command(&["--kernel", &k, "--serial", "null"])
            .spawn()
            .unwrap(),
    );
    std::thread::sleep(Duration::from_millis(500));
    let (before, start) = (cpu_ticks(child.0.id()), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let (used, span) = (cpu_ticks(child.0.id()) - before, start.elapsed());
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    // 2 % of 2 s at 100 ticks a second.
    assert!(used <= 4, "{used} ticks in {span:?}");
}

#[test]
fn events_are_printed_by_category() {
    let code = [
        out8(0x20, 0x11),
        out8(0x3f8, b'x'),
        out8(0xf4, 0),
        HALT.to_vec(),
    ]
    .concat();
    let traced = |categories: &str| {
        let out = run("trace", &code, &["--debug-exit", "--trace", categories]);
        assert_eq!((out.status.code(), &out.stdout[..]), (Some(1), &b"x"[..]));
        said(&out)
    };
    let all = traced("port,machine");
    assert!(
        all.contains("bus::port: out device=\"i8259\" size=Byte port=0x20 value=0x11"),
        "{all}"
    );
    assert!(
        all.contains("machine: power on") && all.contains("uart0"),
        "{all}"
    );
    let one = traced("serial");
    assert!(one.contains("uart0") && one.lines().count() == 1, "{one}");
}

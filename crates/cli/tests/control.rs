//! The control socket of a running machine, by `ferry ctl` and by lines of JSON.

mod common;
#[path = "guests/keys.rs"]
mod keys;
#[path = "guests/vga.rs"]
mod vga;

use common::{Running, Scratch, kernel, program};
use keys::KEYS;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, Output, Stdio};
use std::time::Duration;
use vga::{out8, text_mode};

struct Guest {
    child: Running,
    serial: ChildStdout,
    socket: String,
    _dir: Scratch,
}

/// A machine with a screen that sends its keys to COM1, after '>'.
fn start(name: &str, args: &[&str]) -> Guest {
    let dir = Scratch::new(name);
    let code = [text_mode("Ferry rules"), out8(0x3f8, b'>'), KEYS.to_vec()].concat();
    let k = dir.file("kernel", &kernel(&code));
    let socket = dir.path("ctl");
    let mut c = program();
    c.args(["run", "--kernel", &k, "--vga", "std", "--control"])
        .arg(format!("unix:{socket}"))
        .args(args);
    let mut child = Running(
        c.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut serial = child.0.stdout.take().unwrap();
    serial.read_exact(&mut [0]).unwrap();
    Guest {
        child,
        serial,
        socket,
        _dir: dir,
    }
}

impl Guest {
    fn ctl(&self, words: &[&str]) -> Output {
        program()
            .arg("ctl")
            .arg(&self.socket)
            .args(words)
            .output()
            .unwrap()
    }
    /// What a command that succeeds prints.
    fn ok(&self, words: &[&str]) -> String {
        let out = self.ctl(words);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{words:?}: {said}");
        String::from_utf8(out.stdout).unwrap()
    }
    /// What a command that fails says.
    fn fails(&self, words: &[&str], status: i32) -> String {
        let out = self.ctl(words);
        assert_eq!(out.status.code(), Some(status), "{words:?}");
        String::from_utf8(out.stderr).unwrap()
    }
}

#[test]
fn commands_reach_the_machine() {
    let mut g = start("ctl", &["--no-reboot"]);
    assert_eq!(g.ok(&["status"]), "running\n");
    assert_eq!(g.ok(&["text"]), "Ferry rules\n");
    g.ok(&["type-text", "q\\n"]);
    g.ok(&["send-key", "shift-a"]);
    let mut keys = [0; 8];
    g.serial.read_exact(&mut keys).unwrap();
    assert_eq!(keys, [0x10, 0x90, 0x1c, 0x9c, 0x2a, 0x1e, 0x9e, 0xaa]);
    // The guest stands still while it is paused: the key comes after.
    g.ok(&["pause"]);
    assert_eq!(g.ok(&["status"]), "paused\n");
    let rip = |g: &Guest| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&g.ok(&["info", "registers"])).unwrap()["rip"]
            .clone()
    };
    g.ok(&["send-key", "b"]);
    let before = rip(&g);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rip(&g), before);
    g.ok(&["resume"]);
    let mut keys = [0; 2];
    g.serial.read_exact(&mut keys).unwrap();
    assert_eq!(keys, [0x30, 0xb0]);
    for topic in ["registers", "devices", "pci", "block", "stats"] {
        let json = g.ok(&["info", topic]);
        assert!(
            serde_json::from_str::<serde_json::Value>(&json).is_ok(),
            "{json}"
        );
    }
    assert!(g.ok(&["info", "pci"]).contains("\"1111\""));
    assert!(g.ok(&["info", "devices"]).contains("\"i8042\""));
    // Pictures.
    let png = program()
        .args(["screenshot", &g.socket, "-"])
        .output()
        .unwrap()
        .stdout;
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(png[16..24], [0, 0, 2, 0xd0, 0, 0, 1, 0x90], "720 by 400");
    // What cannot be.
    let said = g.fails(&["send-key", "nokey"], 1);
    assert!(
        said.contains("the machine says: 'nokey' is no key"),
        "{said}"
    );
    let said = g.fails(&["eject", "cdrom7"], 1);
    assert!(said.contains("there is no drive 'cdrom7'"), "{said}");
    let said = g.fails(&["dance"], 2);
    assert!(
        said.contains("unknown command 'dance'; accepted are"),
        "{said}"
    );
    g.ok(&["reset"]);
    assert_eq!(g.child.0.wait().unwrap().code(), Some(0));
    let said = g.fails(&["status"], 1);
    assert!(said.contains("cannot connect"), "{said}");
}

#[test]
fn lines_of_json() {
    let mut g = start("json", &[]);
    let mut s = UnixStream::connect(&g.socket).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answers = BufReader::new(s.try_clone().unwrap());
    let mut say = |line: &str| {
        s.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()
    };
    let a = say("{\"command\":\"status\",\"id\":5}\n");
    assert_eq!((a["id"].as_u64(), a["ok"].as_bool()), (Some(5), Some(true)));
    assert_eq!(say("nonsense\n")["ok"], false);
    assert_eq!(
        say("{\"command\":\"insert\",\"drive\":\"x\"}\n")["ok"],
        false
    );
    // A line without end is refused, and the connection closed.
    let a = say(&"x".repeat(1 << 20));
    assert_eq!(a["error"], "the line is too long");
    assert_eq!(g.ok(&["status"]), "running\n");
    // The reset button restarts the guest: it greets anew.
    g.ok(&["reset"]);
    let mut greeting = [0];
    g.serial.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b">");
    g.ok(&["quit"]);
    assert_eq!(g.child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn discs_come_and_go() {
    let dir = Scratch::new("discs");
    let iso = dir.file("disc.iso", &[0; 4096]);
    let g = start("eject", &["--cdrom", &iso]);
    g.ok(&["eject", "cdrom0"]);
    g.ok(&["insert", "cdrom0", &iso]);
    let said = g.fails(&["insert", "cdrom0", &dir.path("none")], 1);
    assert!(said.contains("none"), "{said}");
    assert!(g.ok(&["info", "block"]).contains("cdrom0"));
}

#[test]
fn sockets_that_cannot_be_are_refused() {
    let dir = Scratch::new("nosocket");
    let k = dir.file("kernel", &kernel(&[0xf4]));
    for (socket, why) in [
        ("tcp:1", "accepted is unix:PATH"),
        ("unix:/no/such/x", "cannot listen"),
    ] {
        let out = program()
            .args(["run", "--kernel", &k, "--control", socket])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

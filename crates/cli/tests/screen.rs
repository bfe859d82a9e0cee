//! The screen of a running machine: in the terminal and over VNC.

mod common;
#[path = "guests/keys.rs"]
mod keys;
#[path = "guests/vga.rs"]
mod vga;

use common::{Running, Scratch, kernel, program};
use keys::KEYS;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use vga::{out8, text_mode};

fn command(kernel: &str, args: &[&str]) -> Command {
    let mut c = program();
    c.args(["run", "--kernel", kernel]).args(args);
    c
}

#[test]
fn the_terminal_shows_text_modes_and_types() {
    let dir = Scratch::new("text");
    // Typed "a" and ends: reads one byte of the keyboard, which is the make code of A.
    let wait_for_key = [
        0xe4, 0x64, 0xa8, 0x01, 0x74, 0xfa, 0xe4, 0x60, 0xe6, 0xf4, 0xf4,
    ]
    .to_vec();
    let code = [text_mode("Hello, screen"), wait_for_key].concat();
    let k = dir.file("kernel", &kernel(&code));
    let mut c = command(&k, &["--display", "text", "--debug-exit"]);
    let mut child = Running(
        c.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut out = child.0.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("screen") {
        let mut b = [0; 512];
        let n = out.read(&mut b).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&b[..n]);
    }
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("\x1b[93;44mHello, "), "{text:?}");
    child.0.stdin.take().unwrap().write_all(b"a").unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0x1e << 1 | 1));
}

#[test]
fn vnc_shows_the_screen_and_brings_keys() {
    let dir = Scratch::new("vnc");
    let code = [text_mode("x"), out8(0x3f8, b'>'), KEYS.to_vec()].concat();
    let k = dir.file("kernel", &kernel(&code));
    let mut c = command(&k, &["--display", "vnc=:0"]);
    let mut child = Running(
        c.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let at = said.trim().strip_prefix("ferry: VNC on ").expect(&said);
    let mut serial = child.0.stdout.take().unwrap();
    serial.read_exact(&mut [0]).unwrap();
    let mut s = TcpStream::connect(at).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    s.write_all(b"RFB 003.008\n\x01\x01").unwrap();
    let mut hello = [0; 12 + 2 + 4 + 24 + 5];
    s.read_exact(&mut hello).unwrap();
    assert_eq!(hello[18..22], [0x02, 0xd0, 0x01, 0x90], "720 by 400");
    s.write_all(&[4, 1, 0, 0, 0, 0, 0, b'q']).unwrap();
    let mut key = [0];
    serial.read_exact(&mut key).unwrap();
    assert_eq!(key, [0x10]);
    s.write_all(&[3, 0, 0, 0, 0, 0, 2, 0xd0, 1, 0x90]).unwrap();
    let mut update = [0; 4 + 12 + 4 * 720];
    s.read_exact(&mut update).unwrap();
    assert_eq!(update[16..20], [0xaa, 0, 0, 0], "blue");
}

#[test]
fn displays_that_cannot_be_are_refused() {
    let dir = Scratch::new("displays");
    let k = dir.file("kernel", &kernel(&[0xf4]));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("vnc={}", taken.local_addr().unwrap());
    let nowhere = format!("vnc=:0,password-file={}", dir.path("none"));
    for (args, why) in [
        (
            &["--display", "sdl"][..],
            "'sdl' is no display; accepted are",
        ),
        (&["--display", "vnc=0.0.0.0:0"], "takes a password-file"),
        (&["--display", &taken], "cannot listen on"),
        (&["--display", &nowhere], "none: No such file"),
        (
            &["--display", "text", "--serial", "stdio"],
            "the terminal shows the screen",
        ),
        (
            &["--display", "text", "--vga", "none"],
            "a display needs an adapter",
        ),
        (&["--vga", "cirrus"], "unknown display adapter 'cirrus'"),
    ] {
        let out = command(&k, args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

//! The page of a running machine: who is let in, and what is there.

mod common;
#[path = "guests/vga.rs"]
mod vga;

use common::{Running, Scratch, kernel, program};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;
use vga::text_mode;

/// Polls COM1 and sends back each byte, a letter as its capital.
const ECHO: &[u8] = &[
    0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
    0xec, // in al, dx
    0xa8, 0x01, // test al, 1
    0x74, 0xf7, // jz to the mov
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xec, // in al, dx
    0x24, 0xdf, // and al, 0xdf
    0xee, // out dx, al
    0xeb, 0xed, // jmp to the start
];

/// A machine with a page; its address after "http://".
fn start(dir: &Scratch) -> (Running, String) {
    let code = [text_mode("Ferry"), ECHO.to_vec()].concat();
    let k = dir.file("kernel", &kernel(&code));
    let mut c = program();
    c.args([
        "run",
        "--kernel",
        &k,
        "--display",
        "web=:0",
        "--serial",
        "null",
    ]);
    let mut child = Running(
        c.stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let url = said
        .trim()
        .strip_prefix("ferry: http://")
        .expect(&said)
        .to_string();
    (child, url)
}

/// Whether an answer has as many bytes as it says.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let len = text
        .split("content-length:")
        .nth(1)
        .and_then(|t| t.split("\r\n").next()?.trim().parse().ok());
    len.is_some_and(|len: usize| answer.len() >= head + 4 + len)
}

fn get(host: &str, request: &str) -> String {
    let mut s = TcpStream::connect(host).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    s.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // Chromium leaves the connection open whatever it is asked.
    while !is_whole(&answer) {
        match s.read(&mut buffer).unwrap() {
            0 => break,
            n => answer.extend(&buffer[..n]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_page_is_for_those_with_the_token() {
    let dir = Scratch::new("token");
    let (_child, url) = start(&dir);
    let (host, query) = url.split_once('/').unwrap();
    for path in ["/", "/?token=0123", "/screen.png", "/socket"] {
        let a = get(host, &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(a.starts_with("HTTP/1.1 403 "), "{path}: {a}");
    }
    let a = get(host, &format!("GET /{query} HTTP/1.1\r\n\r\n"));
    assert!(a.starts_with("HTTP/1.1 200 ") && a.contains("<canvas"));
    let a = get(host, &format!("GET /screen.png{query} HTTP/1.1\r\n\r\n"));
    assert!(a.contains("image/png"));
    let a = get(host, &format!("GET /x{query} HTTP/1.1\r\n\r\n"));
    assert!(a.starts_with("HTTP/1.1 404 "));
    let a = get(host, "NONSENSE\r\n\r\n");
    assert!(a.starts_with("HTTP/1.1 400 "));
    for bad in ["web=0.0.0.0:0", "web=unix:x", "web=nowhere"] {
        let k = dir.path("kernel");
        let mut c = program();
        c.args(["run", "--kernel", &k, "--display", bad])
            .stdin(Stdio::null());
        assert_eq!(c.output().unwrap().status.code(), Some(2), "{bad}");
    }
}

//! The page of a running machine, in a headless Chromium; skipped by name where there is none.

mod browser;
mod common;
#[path = "guests/vga.rs"]
mod vga;

use browser::{Browser, get};
use common::{Running, Scratch, kernel, program};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
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

#[test]
fn a_browser_shows_the_screen_and_types_on_the_serial_line() {
    let name = "a_browser_shows_the_screen_and_types_on_the_serial_line";
    let Some(chromium) = browser::chromium() else {
        eprintln!("{name}: skipped, there is no Chromium (Debian: chromium)");
        return;
    };
    let dir = Scratch::new("browser");
    let (_child, url) = start(&dir);
    let mut b = Browser::open(chromium, &dir.path("profile"), &format!("http://{url}"));
    b.wait_for("document.getElementById('state').textContent === 'connected'");
    // The guest's text is yellow on blue; elsewhere the screen is black.
    b.wait_for("screen_.width === 720 && screen_.height === 400");
    b.wait_for("pen.getImageData(10, 5, 1, 1).data.slice(0, 3).join() === '0,0,170'");
    b.wait_for("pen.getImageData(10, 50, 1, 1).data.slice(0, 3).join() === '0,0,0'");
    b.wait_for("(serial.focus(), document.activeElement === serial)");
    for key in ["f", "o"] {
        let params = serde_json::json!({ "type": "keyDown", "key": key, "text": key });
        b.call("Input.dispatchKeyEvent", params);
    }
    b.wait_for("serial.textContent.includes('FO')");
}

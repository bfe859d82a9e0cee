//! The machine in the browser: a page with its screen, its serial line and buttons, and a WebSocket (RFC 6455) that feeds it.
//!
//! Every request carries the token that the page's address was given with; who has it controls the machine. From the server come binary
//! messages: `R` with width and height, `P` with x and y and a part of the picture as PNG, `S` with the serial line's bytes, `F` with a whole
//! picture to be saved. From the client come texts: `k CODE 0|1` (a key), `m DX DY BUTTONS` (the mouse), `b NAME` (a button: reset, power,
//! screenshot), `s` with bytes for the serial line. All is in this one page: nothing is fetched from elsewhere.

mod http;
mod socket;

use crate::keys::{self, Pressed};
use crate::pointer::{Pointer, rfb_buttons};
use crate::tiles::{changed, pixels};
use crate::{Address, Error, Seat, Server, Stream, Watch, picture};
use devices::vga::Frame;
use http::Request;
use socket::{Decoder, Message};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PAGE: &str = include_str!("page.html");
/// Between two looks at screen and serial line.
const TICK: Duration = Duration::from_millis(30);
/// Bytes of the serial line's past that a new page shows.
const HISTORY: usize = 64 << 10;

/// What the page reaches beside screen and keyboard.
pub trait Controls: Send + Sync {
    fn reset(&self);
    fn power(&self);
    /// Hands over as many bytes for the serial line as there is room for; tells how many.
    fn serial(&self, bytes: &[u8]) -> usize;
}

/// What the serial line sent, for those who look later. Clones are the same.
#[derive(Clone, Default)]
pub struct SerialLog(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    bytes: VecDeque<u8>,
    /// Bytes in all.
    end: u64,
}

impl SerialLog {
    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line sent these.
    pub fn push(&self, bytes: &[u8]) {
        let mut log = self.lock();
        log.end += bytes.len() as u64;
        log.bytes.extend(bytes);
        let over = log.bytes.len().saturating_sub(HISTORY);
        log.bytes.drain(..over);
    }

    /// What came after `seen` bytes, as far as it is kept; moves `seen`.
    fn since(&self, seen: &mut u64) -> Vec<u8> {
        let log = self.lock();
        let new = (log.end - *seen).min(log.bytes.len() as u64) as usize;
        *seen = log.end;
        log.bytes.range(log.bytes.len() - new..).copied().collect()
    }
}

/// All that a page is about.
#[derive(Clone)]
pub struct Site {
    pub seat: Seat,
    pub log: SerialLog,
    pub controls: Arc<dyn Controls>,
}

/// Serves the page at `address`; tells the server and the token that the page asks for.
pub fn start(address: &Address, site: Site) -> Result<(Server, String), Error> {
    let token: String = crate::random::bytes::<16>()?
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let expected = token.clone();
    let server = Server::start("web", address, move |stream| {
        // A client that is gone, or never spoke HTTP, needs no answer.
        let _ = serve(stream, &site, &expected);
    })?;
    Ok((server, token))
}

fn serve(mut stream: Stream, site: &Site, token: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let Some(request) = Request::read(&mut stream)? else {
        return http::answer(&mut stream, "400 Bad Request", "text/plain", b"not HTTP\n");
    };
    if !request.has_token(token) {
        let why = b"the token is missing or wrong: use the address that ferry printed\n";
        return http::answer(&mut stream, "403 Forbidden", "text/plain", why);
    }
    match (request.path(), request.websocket_key()) {
        ("/", None) => http::answer(
            &mut stream,
            "200 OK",
            "text/html; charset=utf-8",
            PAGE.as_bytes(),
        ),
        ("/screen.png", None) => {
            let png = picture::png(&Watch::frame(&site.seat));
            http::answer(&mut stream, "200 OK", "image/png", &png)
        }
        ("/socket", Some(key)) => {
            stream.write_all(socket::accept(key).as_bytes())?;
            Page::new(site).run(stream)
        }
        _ => http::answer(
            &mut stream,
            "404 Not Found",
            "text/plain",
            b"nothing is here\n",
        ),
    }
}

/// An open page.
struct Page<'a> {
    site: &'a Site,
    shown: Option<Frame>,
    seen: u64,
    typed: VecDeque<u8>,
    held: Pressed,
    pointer: Pointer,
    buttons: u8,
}

impl<'a> Page<'a> {
    fn new(site: &'a Site) -> Self {
        Self {
            site,
            shown: None,
            seen: 0,
            typed: VecDeque::new(),
            held: Pressed::default(),
            pointer: Pointer::default(),
            buttons: 0,
        }
    }

    fn run(mut self, mut stream: Stream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(TICK))?;
        let (mut decoder, mut watch) = (Decoder::default(), Watch::default());
        let mut buffer = vec![0; 16 << 10];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    for message in decoder.feed(buffer.get(..n).unwrap_or(&[])) {
                        match message {
                            Message::Data(data) => {
                                let out = self.message(&data);
                                stream.write_all(&out)?;
                            }
                            Message::Ping(data) => {
                                stream.write_all(&socket::frame(socket::PONG, &data))?;
                            }
                            Message::Close => return Ok(()),
                        }
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            let taken = self.site.controls.serial(self.typed.make_contiguous());
            self.typed.drain(..taken.min(self.typed.len()));
            let serial = self.site.log.since(&mut self.seen);
            if !serial.is_empty() {
                stream.write_all(&binary(b'S', &[], &serial))?;
            }
            if let Some(s) = watch.look(&self.site.seat) {
                let out = self.show(s.frame());
                stream.write_all(&out)?;
            }
        }
    }

    /// The messages that bring the page's picture to `frame`.
    fn show(&mut self, frame: Frame) -> Vec<u8> {
        let mut out = Vec::new();
        let size = |f: &Frame| (f.width, f.height);
        if self.shown.as_ref().map(size) != Some(size(&frame)) {
            out.extend(binary(b'R', &[frame.width, frame.height], &[]));
        }
        for r in changed(self.shown.as_ref(), &frame) {
            let part = Frame {
                width: r.width,
                height: r.height,
                pixels: pixels(&frame, r).collect(),
            };
            out.extend(binary(b'P', &[r.x, r.y], &picture::png(&part)));
        }
        self.shown = Some(frame);
        out
    }

    /// Does what a message says; tells what is to be answered.
    fn message(&mut self, data: &[u8]) -> Vec<u8> {
        let seat = &self.site.seat;
        if let Some(typed) = data.strip_prefix(b"s") {
            let room = HISTORY.saturating_sub(self.typed.len());
            self.typed.extend(typed.iter().take(room));
            return Vec::new();
        }
        let text = String::from_utf8_lossy(data);
        let words: Vec<&str> = text.split(' ').collect();
        let number = |s: &str| s.parse::<i32>().unwrap_or(0).clamp(-4096, 4096);
        match words[..] {
            ["k", code, down] => match (keys::of_code(code), down) {
                (Some(key), "1") => seat.press(&mut self.held, key),
                (Some(key), _) => seat.release(&mut self.held, key),
                (None, _) => {}
            },
            ["m", dx, dy, mask] => {
                let mask = number(mask) as u8;
                let (buttons, wheel) = rfb_buttons(mask, self.buttons);
                self.buttons = mask;
                let (dx, dy) = (number(dx), number(dy));
                self.pointer.relative(&seat.input, dx, dy, buttons, wheel);
            }
            ["b", "reset"] => self.site.controls.reset(),
            ["b", "power"] => self.site.controls.power(),
            ["b", "screenshot"] => {
                return binary(b'F', &[], &picture::png(&Watch::frame(seat)));
            }
            _ => {}
        }
        Vec::new()
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        self.site.seat.release_all(&mut self.held);
        self.pointer.release(&self.site.seat.input);
    }
}

/// A binary message: a kind, words of 16 bits, bytes.
fn binary(kind: u8, words: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut data = vec![kind];
    for w in words {
        data.extend((*w as u16).to_be_bytes());
    }
    data.extend(bytes);
    socket::frame(socket::BINARY, &data)
}

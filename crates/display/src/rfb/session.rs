//! One client's side of the protocol: bytes in, bytes out.

use super::auth;
use super::encode::{PixelFormat, Zrle, raw};
use crate::Seat;
use crate::keys::{self, Pressed};
use crate::pointer::{Pointer, rfb_buttons};
use crate::tiles::{Rect, changed};
use devices::vga::Frame;

/// Encodings and pseudo-encodings.
mod encoding {
    pub const RAW: i32 = 0;
    pub const ZRLE: i32 = 16;
    pub const DESKTOP_SIZE: i32 = -223;
    pub const POINTER_MOTION: i32 = -257;
    pub const EXTENDED_KEY: i32 = -258;
}

/// What clients see as the desktop's name.
const NAME: &[u8] = b"Ferry";
/// Bytes of one message that are kept: the longest list of encodings.
const LONGEST: usize = 4 + 4 * 0x1_0000;
/// The offset by which relative motion is sent.
const RELATIVE_ZERO: i32 = 0x7fff;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the connection is gone")]
    Gone,
    #[error("the client took too long to log in")]
    Slow,
    #[error("it speaks no version of the protocol")]
    Version,
    #[error("the password is wrong")]
    Password,
    #[error("it asks for what the server does not offer: {0}")]
    Unsupported(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Version,
    Security,
    Response,
    Init,
    Running,
}

/// What the client can do, beyond the least.
#[derive(Clone, Copy, Debug, Default)]
struct Abilities {
    zrle: bool,
    desktop_size: bool,
    pointer_motion: bool,
    extended_key: bool,
}

/// A client.
pub struct Session {
    seat: Seat,
    phase: Phase,
    /// Minor version: 3, 7 or 8.
    minor: u8,
    /// The right answer to the challenge, if there is a password.
    expected: Option<([u8; 16], [u8; 16])>,
    input: Vec<u8>,
    /// Bytes of cut text still to come, which nobody wants.
    skip: u64,
    output: Vec<u8>,
    format: PixelFormat,
    abilities: Abilities,
    zrle: Zrle,
    /// The client waits for an update; of everything, if it says so.
    wanted: Option<Wanted>,
    /// Pseudo-rectangles to be sent.
    announce: Vec<(u32, i32)>,
    size: (u32, u32),
    shown: Option<Frame>,
    held: Pressed,
    pointer: Pointer,
    buttons: u8,
    relative: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Changes,
    All,
}

fn word(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_be_bytes)
}

fn dword(b: &[u8], at: usize) -> u32 {
    u32::from(word(b, at)) << 16 | u32::from(word(b, at + 2))
}

impl Session {
    /// A client that has just connected, to be asked for `password` by `challenge`.
    pub fn new(seat: Seat, password: Option<&[u8]>, challenge: [u8; 16]) -> Self {
        let frame = seat.screen.snapshot().frame();
        Self {
            seat,
            phase: Phase::Version,
            minor: 8,
            expected: password.map(|p| (challenge, auth::response(p, &challenge))),
            input: Vec::new(),
            skip: 0,
            output: b"RFB 003.008\n".to_vec(),
            format: PixelFormat::NATIVE,
            abilities: Abilities::default(),
            zrle: Zrle::default(),
            wanted: None,
            announce: Vec::new(),
            size: size_of(&frame),
            shown: None,
            held: Pressed::default(),
            pointer: Pointer::default(),
            buttons: 0,
            relative: false,
        }
    }

    /// What is to be sent, taken.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether the client was let in.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the client waits for an update.
    pub fn is_waiting(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether it wants one without a change.
    pub fn wants_all(&self) -> bool {
        self.wanted == Some(Wanted::All) || self.wanted.is_some() && !self.announce.is_empty()
    }

    /// Bytes from the client.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        self.input
            .extend(bytes.get(skipped as usize..).unwrap_or(&[]));
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|r| !r.is_empty()) {
            match self.message(rest)? {
                0 => break,
                used => at += used,
            }
            let more = (input.len() - at.min(input.len())) as u64;
            let skipped = self.skip.min(more);
            self.skip -= skipped;
            at += skipped as usize;
        }
        self.input = input.get(at..).unwrap_or(&[]).to_vec();
        if self.input.len() > LONGEST {
            return Err(Ended::Unsupported("a message without end"));
        }
        Ok(())
    }

    /// Takes the message that `b` begins with; tells its length, 0 if it is not all there.
    fn message(&mut self, b: &[u8]) -> Result<usize, Ended> {
        match self.phase {
            Phase::Version => self.version(b),
            Phase::Security => self.security(b),
            Phase::Response => self.response(b),
            Phase::Init => {
                self.init();
                Ok(1)
            }
            Phase::Running => self.client_message(b),
        }
    }

    /// ProtocolVersion (7.1.1), and the security handshake's beginning (7.1.2).
    fn version(&mut self, b: &[u8]) -> Result<usize, Ended> {
        let Some(text) = b.get(..12) else {
            return Ok(0);
        };
        if !text.starts_with(b"RFB 003.") || text[11] != b'\n' {
            return Err(Ended::Version);
        }
        self.minor = match &text[8..11] {
            b"007" => 7,
            b"008" => 8,
            d if d.iter().all(u8::is_ascii_digit) => 3,
            _ => return Err(Ended::Version),
        };
        let kind = if self.expected.is_some() { 2 } else { 1 };
        if self.minor == 3 {
            self.output.extend([0, 0, 0, kind]);
            self.begin_security(kind);
        } else {
            self.output.extend([1, kind]);
            self.phase = Phase::Security;
        }
        Ok(12)
    }

    /// The client's choice.
    fn security(&mut self, b: &[u8]) -> Result<usize, Ended> {
        let kind = if self.expected.is_some() { 2 } else { 1 };
        if b.first() != Some(&kind) {
            self.refuse(b"no such security type");
            return Err(Ended::Unsupported("a security type that was not offered"));
        }
        self.begin_security(kind);
        Ok(1)
    }

    fn begin_security(&mut self, kind: u8) {
        match &self.expected {
            Some((challenge, _)) if kind == 2 => {
                self.output.extend(challenge);
                self.phase = Phase::Response;
            }
            _ => {
                if self.minor >= 8 {
                    self.output.extend([0; 4]);
                }
                self.phase = Phase::Init;
            }
        }
    }

    /// SecurityResult with a reason (7.1.3).
    fn refuse(&mut self, reason: &[u8]) {
        self.output.extend([0, 0, 0, 1]);
        if self.minor >= 8 {
            self.output.extend((reason.len() as u32).to_be_bytes());
            self.output.extend(reason);
        }
    }

    fn response(&mut self, b: &[u8]) -> Result<usize, Ended> {
        let Some(answer) = b.get(..16) else {
            return Ok(0);
        };
        let right = self
            .expected
            .as_ref()
            .is_some_and(|(_, right)| auth::same(right, answer));
        if !right {
            self.refuse(b"wrong password");
            return Err(Ended::Password);
        }
        self.output.extend([0; 4]);
        self.phase = Phase::Init;
        Ok(16)
    }

    /// ServerInit (7.3.2).
    fn init(&mut self) {
        let (w, h) = self.size;
        self.output.extend((w as u16).to_be_bytes());
        self.output.extend((h as u16).to_be_bytes());
        self.output.extend(self.format.bytes());
        self.output.extend((NAME.len() as u32).to_be_bytes());
        self.output.extend(NAME);
        self.phase = Phase::Running;
    }

    /// Client-to-server messages (7.5).
    fn client_message(&mut self, b: &[u8]) -> Result<usize, Ended> {
        let whole = |n: usize| if b.len() >= n { n } else { 0 };
        let used = match b[0] {
            0 => whole(20),
            2 => match b.get(2..4) {
                Some(n) => whole(4 + 4 * usize::from(word(n, 0))),
                None => 0,
            },
            3 => whole(10),
            4 => whole(8),
            5 => whole(6),
            6 => whole(8),
            255 if b.get(1).is_some_and(|&s| s != 0) => {
                return Err(Ended::Unsupported("a QEMU message"));
            }
            255 => whole(12),
            _ => return Err(Ended::Unsupported("a message of unknown type")),
        };
        let Some(m) = b.get(..used).filter(|m| !m.is_empty()) else {
            return Ok(0);
        };
        match m[0] {
            0 => self.set_pixel_format(m)?,
            2 => self.set_encodings(m),
            3 => {
                let all = m[1] == 0 || self.shown.is_none();
                let before = self.wanted == Some(Wanted::All);
                self.wanted = Some(if all || before {
                    Wanted::All
                } else {
                    Wanted::Changes
                });
            }
            4 => self.key(keys::of_keysym(dword(m, 4)), m[1] != 0),
            5 => self.pointer(m[1], word(m, 2).into(), word(m, 4).into()),
            6 => self.skip = dword(m, 4).into(),
            _ => {
                let key = keys::of_xt(dword(m, 8)).or_else(|| keys::of_keysym(dword(m, 4)));
                self.key(key, word(m, 2) != 0);
            }
        }
        Ok(used)
    }

    fn set_pixel_format(&mut self, m: &[u8]) -> Result<(), Ended> {
        let format = m.get(4..20).and_then(|f| f.try_into().ok());
        let parsed = format.and_then(PixelFormat::parse);
        self.format = parsed.ok_or(Ended::Unsupported("a pixel format"))?;
        // What is shown was sent in the old one, but it is the same picture.
        Ok(())
    }

    fn set_encodings(&mut self, m: &[u8]) {
        let mut a = Abilities::default();
        let list = m.get(4..).unwrap_or(&[]);
        for e in list.chunks_exact(4).map(|e| dword(e, 0) as i32) {
            match e {
                encoding::ZRLE => a.zrle = true,
                encoding::DESKTOP_SIZE => a.desktop_size = true,
                encoding::POINTER_MOTION => a.pointer_motion = true,
                encoding::EXTENDED_KEY => a.extended_key = true,
                _ => {}
            }
        }
        self.announce.clear();
        if a.extended_key {
            self.announce.push((0, encoding::EXTENDED_KEY));
        }
        if a.pointer_motion {
            // The mouse is relative: x is 0.
            self.announce.push((0, encoding::POINTER_MOTION));
        }
        self.relative = a.pointer_motion;
        self.abilities = a;
    }

    fn key(&mut self, key: Option<devices::i8042::Key>, down: bool) {
        match (key, down) {
            (Some(key), true) => self.seat.press(&mut self.held, key),
            (Some(key), false) => self.seat.release(&mut self.held, key),
            (None, _) => {}
        }
    }

    fn pointer(&mut self, mask: u8, x: i32, y: i32) {
        let (buttons, wheel) = rfb_buttons(mask, self.buttons);
        self.buttons = mask;
        let input = &self.seat.input;
        if self.relative {
            let (dx, dy) = (x - RELATIVE_ZERO, y - RELATIVE_ZERO);
            self.pointer.relative(input, dx, dy, buttons, wheel);
        } else {
            self.pointer.absolute(input, x, y, buttons, wheel);
        }
    }

    /// The screen looks like this now: sends what the client asked for, if there is anything.
    pub fn show(&mut self, frame: Frame) {
        let Some(wanted) = self.wanted else { return };
        let resized = size_of(&frame) != self.size;
        let frame = match resized && !self.abilities.desktop_size {
            // The client cannot follow: it sees what fits.
            true => cropped(&frame, self.size),
            false => frame,
        };
        let old = match wanted {
            Wanted::All => None,
            Wanted::Changes => self.shown.as_ref(),
        };
        let rects = changed(old, &frame);
        if rects.is_empty() && self.announce.is_empty() {
            return;
        }
        self.wanted = None;
        let resize = (size_of(&frame) != self.size).then(|| size_of(&frame));
        let announce = std::mem::take(&mut self.announce);
        let count = rects.len() + announce.len() + usize::from(resize.is_some());
        self.output.extend([0, 0]);
        self.output.extend((count as u16).to_be_bytes());
        for (x, encoding) in announce {
            let (width, height) = self.size;
            self.head(
                Rect {
                    x,
                    y: 0,
                    width,
                    height,
                },
                encoding,
            );
        }
        if let Some((width, height)) = resize {
            let r = Rect {
                x: 0,
                y: 0,
                width,
                height,
            };
            self.head(r, encoding::DESKTOP_SIZE);
            self.size = (width, height);
        }
        for r in rects {
            if self.abilities.zrle {
                self.head(r, encoding::ZRLE);
                self.zrle.encode(&frame, r, &self.format, &mut self.output);
            } else {
                self.head(r, encoding::RAW);
                raw(&frame, r, &self.format, &mut self.output);
            }
        }
        self.shown = Some(frame);
    }

    /// A rectangle's head (7.6.1).
    fn head(&mut self, r: Rect, encoding: i32) {
        for v in [r.x, r.y, r.width, r.height] {
            self.output.extend((v as u16).to_be_bytes());
        }
        self.output.extend(encoding.to_be_bytes());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.seat.release_all(&mut self.held);
        self.pointer.release(&self.seat.input);
    }
}

/// A picture's size; one without pixels counts as one pixel, since clients know no empty desktops.
fn size_of(f: &Frame) -> (u32, u32) {
    (f.width.max(1), f.height.max(1))
}

/// The upper left of a picture, with black where it does not reach.
fn cropped(frame: &Frame, (width, height): (u32, u32)) -> Frame {
    let mut out = Frame::black(width, height);
    let lines = out.pixels.chunks_exact_mut(width.max(1) as usize);
    for (y, line) in (0..).zip(lines) {
        for (o, p) in line.iter_mut().zip(frame.line(y)) {
            *o = *p;
        }
    }
    out
}

//! Displays: what `--display` asks for, and the threads that serve it.

use crate::config::{Refusal, refuse};
use crate::escape::{Escape, Event as Key, HELP};
use crate::serial::{Event, wait};
use crate::terminal::Terminal;
use anyhow::Context;
use display::text::{self, Painter};
use display::web::SerialLog;
use display::{Address, Seat, Server, Watch, rfb};
use machine::{Machine, StopReason, StopRequest};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const ACCEPTED: &str = "accepted are none, text, web=ADDRESS and vnc=ADDRESS[,password-file=FILE] with an ADDRESS such as :5900, 192.0.2.1:5900 or unix:PATH";
/// Between two looks at a text screen.
const TICK: Duration = Duration::from_millis(40);
/// Keys typed ahead for a guest that does not take them, in bytes of the keyboard.
const TYPED_AHEAD: usize = 1024;

/// One place where the screen is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Display {
    Text,
    Web(Address),
    Vnc {
        address: Address,
        password_file: Option<PathBuf>,
    },
}

/// All `--display` options.
pub fn parse(texts: &[String]) -> Result<Vec<Display>, Refusal> {
    let bad = |reason: String| refuse("--display", format!("{reason}; {ACCEPTED}"));
    let mut displays = Vec::new();
    for text in texts {
        let (kind, rest) = match text.split_once('=') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text.as_str(), None),
        };
        match (kind, rest) {
            ("none", None) => {}
            ("text", None) if !displays.contains(&Display::Text) => displays.push(Display::Text),
            ("text", None) => return Err(bad("the terminal shows one screen".into())),
            ("web", Some(at)) => displays.push(web(at, &bad)?),
            ("vnc", Some(rest)) => displays.push(vnc(rest, &bad)?),
            _ => return Err(bad(format!("'{text}' is no display"))),
        }
    }
    Ok(displays)
}

fn web(at: &str, bad: &dyn Fn(String) -> Refusal) -> Result<Display, Refusal> {
    match Address::parse(at) {
        Some(address @ Address::Tcp(_)) if address.is_local() => Ok(Display::Web(address)),
        Some(Address::Tcp(_)) => Err(bad(format!(
            "'{at}' can be reached from elsewhere, and the page is not encrypted: an SSH tunnel brings a loopback address there"
        ))),
        _ => Err(bad(format!("'{at}' is no address for a page"))),
    }
}

/// Whether a page shows the serial line.
pub fn is_on_web(displays: &[Display]) -> bool {
    displays.iter().any(|d| matches!(d, Display::Web(_)))
}

fn vnc(text: &str, bad: &dyn Fn(String) -> Refusal) -> Result<Display, Refusal> {
    let mut parts = text.split(',');
    let at = parts.next().unwrap_or("");
    let address =
        Address::parse(at).ok_or_else(|| bad(format!("'{at}' is no address to listen on")))?;
    let mut password_file = None;
    for part in parts {
        match part.split_once('=') {
            Some(("password-file", path)) if !path.is_empty() => {
                password_file = Some(PathBuf::from(path));
            }
            _ => return Err(bad(format!("'{part}' is no property of a VNC display"))),
        }
    }
    if password_file.is_none() && !address.is_local() {
        return Err(bad(format!(
            "{address} can be reached from elsewhere, which takes a password-file"
        )));
    }
    Ok(Display::Vnc {
        address,
        password_file,
    })
}

/// The password in a file: its first line.
fn password(path: &Path) -> Result<Vec<u8>, Refusal> {
    let bad = |reason: String| {
        refuse(
            "--display",
            format!(
                "the password file {}: {reason}; accepted is a file with a password of 1 to 8 bytes in its first line",
                path.display()
            ),
        )
    };
    let text = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let line = text.split(|&b| b == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        0 => Err(bad("there is no password in it".into())),
        1..=8 => Ok(line.to_vec()),
        // VNC looks at eight bytes only: a longer password would be no better, and say that it is.
        n => Err(bad(format!("the password has {n} bytes"))),
    }
}

/// Displays that are served; dropping them ends that.
#[derive(Default)]
pub struct Displays {
    servers: Vec<Server>,
    texts: Vec<Text>,
}

impl Displays {
    /// Starts the servers.
    pub fn open(displays: &[Display], machine: &Machine, log: &SerialLog) -> anyhow::Result<Self> {
        let mut open = Self::default();
        let Some(seat) = seat(machine) else {
            return Ok(open);
        };
        for d in displays {
            if let (Display::Web(address), Some(site)) = (d, crate::web::site(machine, log)) {
                let (server, token) =
                    display::web::start(address, site).map_err(|e| refused(e, address))?;
                eprintln!("ferry: http://{}/?token={token}", server.address());
                open.servers.push(server);
            }
            let Display::Vnc {
                address,
                password_file,
            } = d
            else {
                continue;
            };
            let password = password_file.as_deref().map(password).transpose()?;
            let server =
                rfb::start(address, seat.clone(), password).map_err(|e| refused(e, address))?;
            eprintln!("ferry: VNC on {}", server.address());
            open.servers.push(server);
        }
        Ok(open)
    }

    /// Starts to draw in the terminal, if that is asked for.
    pub fn draw(
        &mut self,
        displays: &[Display],
        machine: &Machine,
        terminal: Option<&Terminal>,
    ) -> anyhow::Result<()> {
        if let (true, Some(seat)) = (displays.contains(&Display::Text), seat(machine)) {
            self.texts
                .push(Text::start(seat, machine.stopper(), terminal.is_some())?);
        }
        Ok(())
    }
}

/// Whether an address can be had is the user's to say.
fn refused(e: display::Error, address: &Address) -> anyhow::Error {
    match e {
        display::Error::Listen { source, .. } => refuse(
            "--display",
            format!("cannot listen on {address}: {source}; accepted is an address of this machine that is free"),
        )
        .into(),
        e => e.into(),
    }
}

/// The machine's screen and input, if it has a screen.
pub fn seat(machine: &Machine) -> Option<Seat> {
    let console = machine.console();
    Some(Seat {
        screen: console.screen()?.clone(),
        input: console.input().clone(),
    })
}

/// The thread that draws text and reads keys.
struct Text {
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Text {
    fn start(seat: Seat, stop: StopRequest, raw: bool) -> anyhow::Result<Self> {
        let (woken, wake) = io::pipe().context("cannot make a pipe")?;
        let thread = thread::Builder::new()
            .name("text".into())
            .spawn(move || draw(&woken, &seat, &stop, raw))
            .context("cannot start the text thread")?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // The thread's end of the pipe reads as hung up.
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn draw(woken: &PipeReader, seat: &Seat, stop: &StopRequest, raw: bool) {
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let (mut painter, mut watch, mut escape) =
        (Painter::default(), Watch::default(), Escape::default());
    let mut open = true;
    let mut paint = |watch: &mut Watch| {
        if let Some(s) = watch.look(seat) {
            let out = painter.paint(s.text().as_ref());
            // A terminal that is gone shows nothing any more.
            let _ = stdout
                .write_all(out.as_bytes())
                .and_then(|()| stdout.flush());
        }
    };
    loop {
        let listen = open && seat.input.pending() < TYPED_AHEAD;
        match wait(woken, listen.then(|| stdin.as_fd()), Some(TICK)) {
            Event::Ended => break,
            Event::Retry => {}
            Event::Ready => {
                let mut buffer = [0; 64];
                let n = rustix::io::read(&stdin, &mut buffer).unwrap_or(0);
                open = n > 0;
                let typed = buffer.get(..n).unwrap_or(&[]);
                if !raw {
                    text::type_bytes(seat, typed);
                } else {
                    for key in escape.feed(typed) {
                        match key {
                            Key::Input(bytes) => text::type_bytes(seat, &bytes),
                            Key::Help => eprint!("{HELP}"),
                            Key::Quit => stop.request(StopReason::User),
                        }
                    }
                }
            }
        }
        paint(&mut watch);
    }
    // What the guest said last.
    paint(&mut Watch::default());
    let _ = io::stdout().write_all(Painter::end().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Display>, String> {
        parse(&[text.to_string()]).map_err(|e| e.to_string())
    }

    #[test]
    fn displays_are_named() {
        assert_eq!(parsed("none"), Ok(vec![]));
        assert_eq!(parsed("text"), Ok(vec![Display::Text]));
        let vnc = parsed("vnc=:5901,password-file=/p").unwrap();
        assert!(matches!(
            &vnc[..],
            [Display::Vnc {
                password_file: Some(_),
                ..
            }]
        ));
        for (bad, why) in [
            ("sdl", "'sdl' is no display"),
            ("vnc", "'vnc' is no display"),
            ("vnc=x", "'x' is no address"),
            ("vnc=0.0.0.0:1", "takes a password-file"),
            ("vnc=:1,x", "'x' is no property"),
        ] {
            let got = parsed(bad).unwrap_err();
            assert!(got.contains(why) && got.contains("accepted are"), "{got}");
        }
    }
}

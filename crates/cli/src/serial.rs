//! The host's ends of the serial line: this terminal or pipe, a file, a socket.
//!
//! Output is a writer that the machine calls; input is one thread that sleeps in poll(2) until there is something to read or the run ends.

use crate::config::{Refusal, Serial, refuse};
use crate::escape::{Escape, Event as Key, HELP};
use crate::terminal::Terminal;
use anyhow::Context;
use machine::{SerialInput, StopReason, StopRequest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a client of the socket may leave the guest's output unread before it is dropped.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// An opened serial line, before the machine exists.
pub enum Line {
    Stdio,
    Null,
    File(File),
    Unix(Socket),
}

impl Line {
    pub fn open(to: &Serial) -> Result<Self, Refusal> {
        Ok(match to {
            Serial::Stdio => Self::Stdio,
            Serial::Null => Self::Null,
            Serial::File(path) => Self::File(File::create(path).map_err(|e| {
                refuse(
                    "--serial",
                    format!(
                        "cannot write {}: {e}; accepted is the path of a file that can be written",
                        path.display()
                    ),
                )
            })?),
            Serial::Unix(path) => Self::Unix(Socket::bind(path)?),
        })
    }

    /// What the machine writes to.
    pub fn output(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdio => Box::new(io::stdout()),
            Self::Null => Box::new(io::sink()),
            Self::File(file) => Box::new(file.try_clone()?),
            Self::Unix(socket) => Box::new(socket.clients.clone()),
        })
    }

    /// Starts to feed the machine with what the line brings.
    pub fn feed(
        self,
        input: SerialInput,
        stop: StopRequest,
        terminal: Option<&Terminal>,
    ) -> anyhow::Result<Feeder> {
        let (woken, wake) = io::pipe().context("cannot make a pipe")?;
        let raw = terminal.is_some();
        let work: Box<dyn FnOnce() + Send> = match self {
            Self::Stdio => Box::new(move || match raw {
                true => feed_keys(&woken, &input, &stop),
                false => {
                    feed_stream(&woken, io::stdin().as_fd(), &input);
                }
            }),
            Self::Unix(socket) => Box::new(move || socket.serve(&woken, &input)),
            Self::Null | Self::File(_) => Box::new(|| {}),
        };
        let thread = thread::Builder::new()
            .name("serial".into())
            .spawn(work)
            .context("cannot start the serial thread")?;
        Ok(Feeder {
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

/// The input thread; dropping it ends the thread.
pub struct Feeder {
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // The thread's end of the pipe reads as hung up.
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// How long bytes wait before they are offered to the guest again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Bytes typed ahead that are kept for the guest.
const TYPED_AHEAD: usize = 4096;

/// What came out of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run has ended.
    Ended,
    /// There is something to read.
    Ready,
    /// It is time to offer what is pending.
    Retry,
}

/// Sleeps until `source` has something, if it is watched, or `patience` has passed, if there is any.
pub fn wait(
    woken: &PipeReader,
    source: Option<BorrowedFd<'_>>,
    patience: Option<Duration>,
) -> Event {
    let mut list = vec![PollFd::new(woken, PollFlags::IN)];
    list.extend(source.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let patience = patience.and_then(|p| Timespec::try_from(p).ok());
    match poll(&mut list, patience.as_ref()) {
        Err(Errno::INTR) => return Event::Retry,
        Err(_) => return Event::Ended,
        Ok(_) => {}
    }
    if !list[0].revents().is_empty() {
        return Event::Ended;
    }
    match list.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
        true => Event::Ready,
        false => Event::Retry,
    }
}

/// Bytes on their way to the guest, and how long to wait before the next try.
struct Pending {
    bytes: VecDeque<u8>,
    retry: Duration,
}

impl Pending {
    fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            retry: RETRY.0,
        }
    }

    /// Hands over what the guest takes now.
    fn offer(&mut self, input: &SerialInput) {
        let taken = input.offer(self.bytes.make_contiguous());
        self.bytes.drain(..taken);
        self.retry = match taken {
            0 => (self.retry * 2).min(RETRY.1),
            _ => RETRY.0,
        };
    }

    fn patience(&self) -> Option<Duration> {
        (!self.bytes.is_empty()).then_some(self.retry)
    }
}

/// The raw terminal: the guest never holds up the escape key, so what it leaves unread for long is lost, as on a real line.
fn feed_keys(woken: &PipeReader, input: &SerialInput, stop: &StopRequest) {
    let stdin = io::stdin();
    let mut escape = Escape::default();
    let mut pending = Pending::new();
    let mut buffer = [0; 4096];
    loop {
        match wait(woken, Some(stdin.as_fd()), pending.patience()) {
            Event::Ended => return,
            Event::Retry => {}
            Event::Ready => {
                let n = match rustix::io::read(&stdin, &mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => n,
                };
                for key in escape.feed(&buffer[..n]) {
                    match key {
                        Key::Input(bytes) => pending.bytes.extend(bytes),
                        Key::Help => eprint!("{HELP}"),
                        Key::Quit => return stop.request(StopReason::User),
                    }
                }
                pending.bytes.truncate(TYPED_AHEAD);
            }
        }
        pending.offer(input);
    }
}

/// A pipe, a file or a client: read as fast as the guest takes it. Its end is no end of the run.
fn feed_stream(woken: &PipeReader, stream: BorrowedFd<'_>, input: &SerialInput) -> Event {
    let mut pending = Pending::new();
    let mut buffer = [0; 4096];
    loop {
        let source = pending.bytes.is_empty().then_some(stream);
        match wait(woken, source, pending.patience()) {
            Event::Ended => return Event::Ended,
            Event::Retry => {}
            Event::Ready => match rustix::io::read(stream, &mut buffer) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(0) | Err(_) => return Event::Ready,
                Ok(n) => pending.bytes.extend(&buffer[..n]),
            },
        }
        pending.offer(input);
    }
}

/// A listening socket; its file goes with it.
pub struct Socket {
    listener: UnixListener,
    clients: Clients,
    path: PathBuf,
}

impl Socket {
    fn bind(path: &Path) -> Result<Self, Refusal> {
        let bad = |e: &dyn std::fmt::Display| {
            refuse(
                "--serial",
                format!(
                    "cannot listen on {}: {e}; accepted is a path in a writable directory that is free or a socket nobody listens on",
                    path.display()
                ),
            )
        };
        let is_socket = std::fs::symlink_metadata(path)
            .is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_socket(&m.file_type()));
        if is_socket {
            // A socket that a run left behind when it was killed refuses connections.
            match UnixStream::connect(path) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(|e| bad(&e))?;
                }
                _ => return Err(bad(&"another program listens there")),
            }
        }
        Ok(Self {
            listener: UnixListener::bind(path).map_err(|e| bad(&e))?,
            clients: Clients::default(),
            path: path.to_path_buf(),
        })
    }

    /// One client at a time; the next is served when it has gone.
    fn serve(&self, woken: &PipeReader, input: &SerialInput) {
        loop {
            match wait(woken, Some(self.listener.as_fd()), None) {
                Event::Ended => return,
                Event::Retry => continue,
                Event::Ready => {}
            }
            let Ok((client, _)) = self.listener.accept() else {
                continue;
            };
            if let Ok(writer) = client.try_clone() {
                // Best effort: without it a stuck client holds up the guest.
                let _ = writer.set_write_timeout(Some(CLIENT_PATIENCE));
                self.clients.set(Some(writer));
            }
            let end = feed_stream(woken, client.as_fd(), input);
            self.clients.set(None);
            if end == Event::Ended {
                return;
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The connected client, if any: output without one is lost, as on a real line.
#[derive(Clone, Default)]
struct Clients {
    current: Arc<Mutex<Option<UnixStream>>>,
}

impl Clients {
    fn set(&self, client: Option<UnixStream>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

impl Write for Clients {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &mut *current
            && client.write_all(bytes).is_err()
        {
            // The input thread sees the hang-up and takes the next client.
            let _ = client.shutdown(std::net::Shutdown::Both);
            *current = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! A cable over a connection, as QEMU's `-netdev socket` and `-netdev stream` have it: to another machine, to passt, to a switch.

use crate::framed::{Framed, Socket};
use crate::wire::{self, Line};
use crate::worker::Worker;
use crate::{Backend, Error, Nic, switch};
use rustix::event::{PollFd, PollFlags};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a TCP connection may take to come about: the thread can do nothing else meanwhile.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Where the other side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(a) => write!(f, "{a}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which side this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOptions {
    /// Waits for the other one, and for the next when it leaves.
    Listen(StreamAddress),
    /// Connects at once; with `reconnect` again and again after that time, from the beginning.
    Connect {
        to: StreamAddress,
        reconnect: Option<Duration>,
    },
}

/// A cable over a connection.
pub struct Stream {
    worker: Worker,
    listening: Option<SocketAddr>,
}

impl Stream {
    pub fn new(options: &StreamOptions) -> Result<Self, Error> {
        let mut cable = Cable {
            ends: Ends::None,
            connection: None,
            retry_at: None,
        };
        let mut listening = None;
        match options {
            StreamOptions::Listen(at) => {
                let listener = Listener::new(at).map_err(|source| Error::Attach {
                    address: at.to_string(),
                    source,
                })?;
                if let Listener::Tcp(l) = &listener {
                    listening = l.local_addr().ok();
                }
                cable.ends = Ends::Listen(listener);
            }
            StreamOptions::Connect { to, reconnect } => {
                match connect(to).and_then(Framed::new) {
                    Ok(c) => cable.connection = Some(c),
                    Err(_) if reconnect.is_some() => cable.retry_at = Some(Instant::now()),
                    Err(source) => {
                        return Err(Error::Connect {
                            address: to.to_string(),
                            source,
                        });
                    }
                }
                if let Some(after) = *reconnect {
                    cable.ends = Ends::Connect {
                        to: to.clone(),
                        after,
                    };
                }
            }
        }
        let worker = wire::start("net-stream", cable)?;
        Ok(Self { worker, listening })
    }

    /// A port of the switch at `path`, which is in one of the processes that are connected to it: this one, if there is no other.
    pub fn to_switch(path: &Path) -> Result<Self, Error> {
        let mut member = switch::Member::new(path);
        let connection = member.join().map_err(|source| Error::Connect {
            address: path.display().to_string(),
            source,
        })?;
        let cable = Cable {
            retry_at: connection.is_none().then(Instant::now),
            connection,
            ends: Ends::Switch(member),
        };
        Ok(Self {
            worker: wire::start("net-port", cable)?,
            listening: None,
        })
    }

    /// Where it listens: for a port asked for as 0.
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }
}

impl Backend for Stream {
    fn attach(&self, nic: Arc<dyn Nic>) {
        self.worker.attach(nic);
    }

    fn kick(&self) {
        self.worker.kick();
    }
}

enum Listener {
    Tcp(TcpListener),
    /// With its path, which is removed at the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    fn new(at: &StreamAddress) -> io::Result<Self> {
        match at {
            StreamAddress::Tcp(a) => {
                let l = TcpListener::bind(a)?;
                l.set_nonblocking(true)?;
                Ok(Self::Tcp(l))
            }
            StreamAddress::Unix(path) => {
                let l = UnixListener::bind(path)?;
                l.set_nonblocking(true)?;
                Ok(Self::Unix(l, path.clone()))
            }
        }
    }

    fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(l) => Socket::Tcp(l.accept()?.0),
            Self::Unix(l, _) => Socket::Unix(l.accept()?.0),
        })
    }

    fn interest(&self) -> PollFd<'_> {
        match self {
            Self::Tcp(l) => PollFd::new(l, PollFlags::IN),
            Self::Unix(l, _) => PollFd::new(l, PollFlags::IN),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn connect(to: &StreamAddress) -> io::Result<Socket> {
    Ok(match to {
        StreamAddress::Tcp(a) => Socket::Tcp(TcpStream::connect_timeout(a, HANDSHAKE)?),
        StreamAddress::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
    })
}

/// Where the next connection comes from.
enum Ends {
    /// The one that there is was the last.
    None,
    Listen(Listener),
    Connect {
        to: StreamAddress,
        after: Duration,
    },
    Switch(switch::Member),
}

struct Cable {
    ends: Ends,
    connection: Option<Framed>,
    /// When to try again.
    retry_at: Option<Instant>,
}

impl Cable {
    /// Ends the connection if `result` is an error, and prepares the next one.
    fn check<T>(&mut self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::info!(target: "net", %error, "the cable's other end is gone");
                self.connection = None;
                self.retry_at = match &self.ends {
                    Ends::None | Ends::Listen(_) => None,
                    Ends::Connect { after, .. } => Some(Instant::now() + *after),
                    Ends::Switch(_) => Some(Instant::now()),
                };
                None
            }
        }
    }

    fn establish(&mut self) {
        let due = self.retry_at.is_some_and(|t| Instant::now() >= t);
        let (found, again) = match &mut self.ends {
            Ends::None => return,
            Ends::Listen(listener) => (listener.accept().and_then(Framed::new).ok(), None),
            _ if !due => return,
            Ends::Connect { to, after } => (connect(to).and_then(Framed::new).ok(), Some(*after)),
            Ends::Switch(member) => (member.join().ok().flatten(), Some(switch::RETRY)),
        };
        self.retry_at = match found {
            Some(_) => None,
            None => again.map(|after| Instant::now() + after),
        };
        self.connection = found;
    }
}

impl Line for Cable {
    fn send(&mut self, frame: &[u8]) {
        if let Some(c) = &mut self.connection {
            c.send(frame);
        }
    }

    fn is_full(&self) -> bool {
        self.connection.as_ref().is_some_and(Framed::is_full)
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let Some(c) = &mut self.connection else {
            return false;
        };
        let received = c.receive(frame);
        self.check(received) == Some(true)
    }

    fn flush(&mut self) {
        if self.connection.is_none() {
            self.establish();
        }
        if let Some(c) = &mut self.connection {
            let flushed = c.flush();
            self.check(flushed);
        }
    }

    fn interest(&self, starved: bool) -> Option<PollFd<'_>> {
        match (&self.connection, &self.ends) {
            (Some(c), _) => c.interest(starved),
            (None, Ends::Listen(l)) => Some(l.interest()),
            (None, _) => None,
        }
    }

    fn ready(&mut self) {
        if let Some(c) = &mut self.connection {
            c.ready();
        }
    }

    fn wait(&self) -> Option<Duration> {
        let at = self.retry_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }
}

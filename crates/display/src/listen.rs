//! Listening for clients: loopback TCP or a socket in the file system, a bounded number of them, each on its thread.

use crate::Error;
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Clients at a time; further ones are turned away.
const CLIENTS: usize = 8;
/// How long a client may leave what is sent to it unread.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// `HOST:PORT` with a numeric host, `:PORT` or `PORT` on loopback, `unix:PATH`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Self::Unix(path.into()));
        }
        let port = text.strip_prefix(':').unwrap_or(text);
        if let Ok(port) = port.parse::<u16>() {
            return Some(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        text.parse().ok().map(Self::Tcp)
    }

    /// Whether only programs on this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(a) => a.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(a) => write!(f, "{a}"),
            Self::Unix(p) => write!(f, "unix:{}", p.display()),
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// A second handle to the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(s) => Self::Tcp(s.try_clone()?),
            Self::Unix(s) => Self::Unix(s.try_clone()?),
        })
    }

    /// How long a read waits; `None` for ever.
    pub fn set_read_timeout(&self, t: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.set_read_timeout(t),
            Self::Unix(s) => s.set_read_timeout(t),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => {
                s.set_nodelay(true)?;
                s.set_write_timeout(Some(PATIENCE))
            }
            Self::Unix(s) => s.set_write_timeout(Some(PATIENCE)),
        }
    }

    /// Ends the connection for all handles.
    pub fn shutdown(&self) {
        // One that is gone needs no ending.
        let _ = match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Both),
            Self::Unix(s) => s.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(into),
            Self::Unix(s) => s.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(from),
            Self::Unix(s) => s.write(from),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(a) => TcpListener::bind(a).map(Self::Tcp),
            Address::Unix(path) => {
                let is_socket =
                    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
                // A socket that a run left behind when it was killed refuses connections.
                if is_socket
                    && let Err(e) = UnixStream::connect(path)
                    && e.kind() == io::ErrorKind::ConnectionRefused
                {
                    std::fs::remove_file(path)?;
                }
                UnixListener::bind(path).map(Self::Unix)
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(l) => l.as_fd(),
            Self::Unix(l) => l.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(l) => Stream::Tcp(l.accept()?.0),
            Self::Unix(l) => Stream::Unix(l.accept()?.0),
        })
    }
}

#[derive(Default)]
struct Clients {
    count: AtomicUsize,
    next: AtomicUsize,
    streams: Mutex<Vec<(usize, Stream)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listening server; dropping it ends it and its clients' connections.
pub struct Server {
    address: Address,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    clients: Arc<Clients>,
}

impl Server {
    /// Listens on `address`; each client is served by `serve` on a thread of its own, until it returns.
    pub fn start(
        name: &'static str,
        address: &Address,
        serve: impl Fn(Stream) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let trouble = |source| Error::Listen {
            address: address.to_string(),
            source,
        };
        let listener = Listener::bind(address).map_err(trouble)?;
        let bound = match &listener {
            Listener::Tcp(l) => Address::Tcp(l.local_addr().map_err(trouble)?),
            Listener::Unix(_) => address.clone(),
        };
        let (woken, wake) = io::pipe().map_err(trouble)?;
        let clients = Arc::new(Clients::default());
        let (serve, of_thread) = (Arc::new(serve), clients.clone());
        let work = move || accept(name, &listener, &woken, &of_thread, &serve);
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(Error::Thread)?;
        Ok(Self {
            address: bound,
            wake: Some(wake),
            thread: Some(thread),
            clients,
        })
    }

    /// Where it listens: with the port that the host chose if it was to choose one.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

fn accept(
    name: &'static str,
    listener: &Listener,
    woken: &PipeReader,
    clients: &Arc<Clients>,
    serve: &Arc<impl Fn(Stream) + Send + Sync + 'static>,
) {
    loop {
        let mut list = [
            PollFd::new(woken, PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        match poll(&mut list, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !list[0].revents().is_empty() {
            return;
        }
        let Ok(stream) = listener.accept() else {
            // Out of descriptors, most likely: no use to try again at once.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        lock(&clients.threads).retain(|t| !t.is_finished());
        if clients.count.load(Ordering::SeqCst) >= CLIENTS || stream.prepare().is_err() {
            stream.shutdown();
            continue;
        }
        let Ok(second) = stream.try_clone() else {
            continue;
        };
        let id = clients.next.fetch_add(1, Ordering::SeqCst);
        lock(&clients.streams).push((id, second));
        clients.count.fetch_add(1, Ordering::SeqCst);
        let (serve, of_client) = (serve.clone(), clients.clone());
        let work = move || {
            let gone = Gone(of_client, id);
            serve(stream);
            drop(gone);
        };
        match thread::Builder::new().name(name.into()).spawn(work) {
            Ok(t) => lock(&clients.threads).push(t),
            Err(_) => drop(Gone(clients.clone(), id)),
        }
    }
}

/// Takes a client off the list, whatever its thread's end was.
struct Gone(Arc<Clients>, usize);

impl Drop for Gone {
    fn drop(&mut self) {
        lock(&self.0.streams).retain(|(id, s)| {
            if *id == self.1 {
                s.shutdown();
            }
            *id != self.1
        });
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread's end of the pipe reads as hung up.
        self.wake = None;
        if let Some(t) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = t.join();
        }
        for (_, s) in lock(&self.clients.streams).iter() {
            s.shutdown();
        }
        let threads = std::mem::take(&mut *lock(&self.clients.threads));
        for t in threads {
            let _ = t.join();
        }
        if let Address::Unix(path) = &self.address {
            // It may have been removed by hand.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |t| Some(Address::Tcp(t));
        let loopback = |p| (Ipv4Addr::LOCALHOST, p).into();
        assert_eq!(Address::parse(":5900"), tcp(loopback(5900)));
        assert_eq!(Address::parse("5900"), tcp(loopback(5900)));
        assert_eq!(Address::parse("localhost:1"), tcp(loopback(1)));
        assert!(Address::parse("[::1]:1").is_some_and(|a| a.is_local()));
        assert!(Address::parse("0.0.0.0:1").is_some_and(|a| !a.is_local()));
        assert_eq!(Address::parse("unix:/x"), Some(Address::Unix("/x".into())));
        for bad in ["", "unix:", "99999", "host:1", "1.2.3.4"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_server_turns_the_ninth_client_away_and_ends_with_all() {
        let serve = |mut s: Stream| {
            let _ = s.write_all(b"x");
            let _ = s.read(&mut [0]);
        };
        let server = Server::start("test", &Address::parse(":0").unwrap(), serve).unwrap();
        let Address::Tcp(at) = server.address().clone() else {
            panic!("not TCP");
        };
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut c = TcpStream::connect(at).unwrap();
                c.read_exact(&mut [0]).unwrap();
                c
            })
            .collect();
        let mut ninth = TcpStream::connect(at).unwrap();
        assert!(matches!(ninth.read(&mut [0]), Ok(0) | Err(_)));
        drop(server);
        assert!(matches!(clients[0].read(&mut [0]), Ok(0) | Err(_)));
        assert!(TcpStream::connect(at).is_err());
    }
}

//! Frames over a connection as QEMU's `-netdev socket` and `stream` send them: four bytes of length, big-endian, and the frame.

use rustix::event::{PollFd, PollFlags};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The longest frame that QEMU takes (its NET_BUFSIZE).
pub(crate) const LONGEST: usize = 4096 + 65_536;
/// Bytes before each frame.
const LENGTH: usize = 4;
/// Bytes that are read at once, and that wait to be sent before no more are wanted.
const WINDOW: usize = 256 << 10;

/// A connection of either family.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.set_nodelay(true).and_then(|()| s.set_nonblocking(true)),
            Self::Unix(s) => s.set_nonblocking(true),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(s) => s.as_fd(),
            Self::Unix(s) => s.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(into),
            Self::Unix(s) => s.read(into),
        }
    }
}

impl Write for Socket {
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

/// Bytes that wait, the first `done` of them gone already.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    done: usize,
}

impl Queue {
    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }
    fn consume(&mut self, n: usize) {
        self.done += n;
        if self.done >= self.bytes.len() {
            self.bytes.clear();
            self.done = 0;
        } else if self.done >= WINDOW {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
    }
}

/// A connection that carries frames. An error of any method is its end.
pub(crate) struct Framed {
    socket: Socket,
    input: Queue,
    output: Queue,
    buffer: Vec<u8>,
    readable: bool,
}

impl Framed {
    pub fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking()?;
        Ok(Self {
            socket,
            input: Queue::default(),
            output: Queue::default(),
            buffer: vec![0; WINDOW],
            readable: true,
        })
    }

    /// The next frame that came, in place of what `frame` held; `false` if there is none (yet).
    pub fn receive(&mut self, frame: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let waiting = self.input.waiting();
            if let Some((head, rest)) = waiting.split_first_chunk::<LENGTH>() {
                let bytes = u32::from_be_bytes(*head) as usize;
                if bytes > LONGEST {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        format!("a frame of {bytes} bytes; the longest has {LONGEST}"),
                    ));
                }
                if let Some(whole) = rest.get(..bytes) {
                    frame.clear();
                    frame.extend_from_slice(whole);
                    self.input.consume(LENGTH + bytes);
                    return Ok(true);
                }
            }
            if !self.readable {
                return Ok(false);
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self
                    .input
                    .bytes
                    .extend_from_slice(self.buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(e) => return Err(e),
            }
        }
    }

    /// Puts a frame behind those that wait; [`Framed::flush`] sends them.
    pub fn send(&mut self, frame: &[u8]) {
        self.output.bytes.extend((frame.len() as u32).to_be_bytes());
        self.output.bytes.extend_from_slice(frame);
    }

    /// Sends what the connection takes now.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.output.waiting().is_empty() {
            match self.socket.write(self.output.waiting()) {
                Ok(n) => self.output.consume(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether so much waits that no more should be sent.
    pub fn is_full(&self) -> bool {
        self.output.waiting().len() >= WINDOW
    }

    /// What to wait for, if there is anything; with `starved` no frames are wanted.
    pub fn interest(&self, starved: bool) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        if !starved {
            flags |= PollFlags::IN;
        }
        if !self.output.waiting().is_empty() {
            flags |= PollFlags::OUT;
        }
        // Not even the end: it would be told again and again.
        (!flags.is_empty()).then(|| PollFd::new(&self.socket, flags))
    }

    /// Something of that happened.
    pub fn ready(&mut self) {
        self.readable = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Framed, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        (Framed::new(Socket::Unix(a)).unwrap(), b)
    }

    #[test]
    fn frames_have_their_length_before_them() {
        let (mut f, mut other) = pair();
        f.send(b"abc");
        f.send(&[]);
        f.flush().unwrap();
        let mut got = [0; 11];
        other.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"\0\0\0\x03abc\0\0\0\0");
        // In pieces, and several at once.
        let mut frame = Vec::new();
        for piece in [&b"\0\0"[..], b"\0\x02x", b"y\0\0\0\x01z\0"] {
            assert!(!f.receive(&mut frame).unwrap());
            other.write_all(piece).unwrap();
            f.ready();
        }
        assert!(f.receive(&mut frame).unwrap());
        assert_eq!(frame, b"xy");
        assert!(f.receive(&mut frame).unwrap());
        assert_eq!(frame, b"z");
        assert!(!f.receive(&mut frame).unwrap());
        drop(other);
        f.ready();
        assert!(f.receive(&mut frame).is_err());
    }

    #[test]
    fn a_frame_too_long_ends_the_connection() {
        let (mut f, mut other) = pair();
        other.write_all(&[0, 2, 0, 0]).unwrap();
        let error = f.receive(&mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "a frame of 131072 bytes; the longest has 69632");
    }

    #[test]
    fn a_slow_reader_fills_the_queue() {
        let (mut f, mut other) = pair();
        let frame: Vec<u8> = (0..1500).map(|n| n as u8).collect();
        let mut sent = 0;
        while !f.is_full() {
            f.send(&frame);
            f.flush().unwrap();
            sent += 1;
        }
        let mut got = vec![0; 1504];
        for _ in 0..sent {
            f.flush().unwrap();
            other.read_exact(&mut got).unwrap();
            assert!(got[4..] == frame);
        }
        f.flush().unwrap();
        assert!(!f.is_full());
    }
}

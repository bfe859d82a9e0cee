//! A VNC server (RFC 6143, "The Remote Framebuffer Protocol", versions 3.3, 3.7 and 3.8; numbers of extensions from the rfbproto
//! repository of the community).
//!
//! [`session`] is the protocol as bytes in and bytes out, without sockets; [`encode`] turns pictures into rectangles; [`auth`] is VNC
//! authentication. Encodings: raw and ZRLE, desktop size, QEMU's extended key events and relative pointer.

mod auth;
mod encode;
mod session;

pub(crate) use auth::same;
pub use session::{Ended, Session};

use crate::{Address, Error, Seat, Server, Stream, Watch};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// How long a client may take until it is let in.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Between two looks at the screen for a client that waits for a change.
const TICK: Duration = Duration::from_millis(20);

/// Serves `seat` at `address`; clients give `password` if there is one (its first eight bytes count).
pub fn start(address: &Address, seat: Seat, password: Option<Vec<u8>>) -> Result<Server, Error> {
    // Sooner than for the first client: whether there are random numbers.
    crate::random::bytes::<1>()?;
    Server::start("vnc", address, move |stream| {
        match serve(stream, &seat, password.as_deref()) {
            Ok(()) | Err(Ended::Gone) => {}
            Err(reason) => tracing::info!(target: "display::rfb", %reason, "client turned away"),
        }
    })
}

fn serve(mut stream: Stream, seat: &Seat, password: Option<&[u8]>) -> Result<(), Ended> {
    let challenge = crate::random::bytes().map_err(|_| Ended::Gone)?;
    let mut session = Session::new(seat.clone(), password, challenge);
    let (mut watch, begun) = (Watch::default(), Instant::now());
    let mut buffer = vec![0; 16 << 10];
    loop {
        let out = session.take_output();
        if !out.is_empty() {
            stream.write_all(&out).map_err(|_| Ended::Gone)?;
        }
        if !session.is_running() && begun.elapsed() > HANDSHAKE {
            return Err(Ended::Slow);
        }
        let wait = match (session.is_running(), session.is_waiting()) {
            (true, false) => None,
            (true, true) => Some(TICK),
            (false, _) => Some(HANDSHAKE),
        };
        stream.set_read_timeout(wait).map_err(|_| Ended::Gone)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(Ended::Gone),
            Ok(n) => {
                let fed = session.feed(buffer.get(..n).unwrap_or(&[]));
                if let Err(e) = fed {
                    // What is left to say, a refusal with its reason, is said if it can be.
                    let _ = stream.write_all(&session.take_output());
                    return Err(e);
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Ended::Gone),
        }
        if session.wants_all() {
            session.show(Watch::frame(seat));
        } else if session.is_waiting()
            && let Some(s) = watch.look(seat)
        {
            session.show(s.frame());
        }
    }
}

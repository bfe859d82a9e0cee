//! A TAP interface of the host (Linux, Documentation/networking/tuntap.rst): the guest is on the host's own network.
//!
//! # Unsafe
//! Invariant: the one request that goes to the kernel, TUNSETIFF, gets a whole `struct ifreq` of its own while it is under way.
#![expect(unsafe_code, reason = "rustix has no safe TUNSETIFF")]

use crate::wire::{self, Line};
use crate::worker::Worker;
use crate::{Backend, Error, Nic};
use rustix::event::{PollFd, PollFlags};
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

/// `<linux/if_tun.h>`.
const TUNSETIFF: Opcode = rustix::ioctl::opcode::write::<std::ffi::c_int>(b'T', 202);
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
/// With the zero at its end (IFNAMSIZ).
const NAME: usize = 16;
/// The longest frame.
const LONGEST: usize = 65_535 + 14;

/// `struct ifreq` as TUNSETIFF reads it and writes it back.
#[repr(C)]
struct Request {
    name: [u8; NAME],
    flags: u16,
    rest: [u8; 22],
}

/// A cable to an interface.
pub struct Tap {
    worker: Worker,
}

impl Tap {
    /// The interface named so, which is made if it is missing and if the host lets us.
    pub fn new(name: &str) -> Result<Self, Error> {
        let line = Interface::open(name).map_err(|source| Error::Tap {
            name: name.to_owned(),
            source,
        })?;
        Ok(Self {
            worker: wire::start("net-tap", line)?,
        })
    }
}

impl Backend for Tap {
    fn attach(&self, nic: Arc<dyn Nic>) {
        self.worker.attach(nic);
    }

    fn kick(&self) {
        self.worker.kick();
    }
}

struct Interface {
    file: File,
    readable: bool,
}

impl Interface {
    fn open(name: &str) -> io::Result<Self> {
        let mut request = Request {
            name: [0; NAME],
            flags: IFF_TAP | IFF_NO_PI,
            rest: [0; 22],
        };
        let place = request.name.get_mut(..name.len().min(NAME));
        if let Some(place) = place.filter(|p| p.len() < NAME && !p.is_empty()) {
            place.copy_from_slice(name.as_bytes());
        } else {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a name has 1 to 15 bytes",
            ));
        }
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/net/tun")?;
        // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, whose at most 40 bytes `Request` has.
        let updater = unsafe { Updater::<TUNSETIFF, Request>::new(&mut request) };
        // SAFETY: the descriptor is that of the driver which knows the request.
        unsafe { ioctl(&file, updater) }?;
        Ok(Self {
            file,
            readable: true,
        })
    }
}

impl Line for Interface {
    fn send(&mut self, frame: &[u8]) {
        // An interface that is down or full loses frames, as any cable.
        if let Err(error) = self.file.write(frame) {
            tracing::debug!(target: "net", %error, "the interface did not take a frame");
        }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        if !self.readable {
            return false;
        }
        frame.resize(LONGEST, 0);
        match self.file.read(frame) {
            Ok(n) => {
                frame.truncate(n);
                true
            }
            Err(_) => {
                self.readable = false;
                false
            }
        }
    }

    fn flush(&mut self) {}

    fn interest(&self, starved: bool) -> Option<PollFd<'_>> {
        (!starved).then(|| PollFd::new(&self.file, PollFlags::IN))
    }

    fn ready(&mut self) {
        self.readable = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Guest;
    use std::net::UdpSocket;
    use std::process::Command;
    use std::time::Duration;

    /// Says that the test runs in a network namespace of its own.
    const INSIDE: &str = "FERRY_TAP_TEST";

    fn ip(arguments: &str) {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        assert!(done.is_ok_and(|s| s.success()), "ip {arguments}");
    }

    /// The test starts itself anew in a namespace, where this user may make one.
    #[test]
    fn the_host_is_at_the_other_end() {
        let name = "the_host_is_at_the_other_end";
        if std::env::var_os(INSIDE).is_some() {
            return inside();
        }
        let may = Command::new("unshare")
            .args([
                "--net", "ip", "tuntap", "add", "mode", "tap", "name", "probe",
            ])
            .output();
        match may {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                return eprintln!("{name}: skipped, no TAP interface in a namespace: {why}");
            }
            Err(why) => return eprintln!("{name}: skipped, no unshare: {why}"),
        }
        let status = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", &format!("tap::tests::{name}"), "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare");
        assert!(status.success());
    }

    fn inside() {
        let guest = Guest::new(Tap::new("ferry0").expect("an interface"));
        ip("addr add 10.9.0.1/24 dev ferry0");
        ip("link set ferry0 up");
        ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev ferry0");
        let socket = UdpSocket::bind("10.9.0.1:700").expect("the interface's address");
        let limit = Some(Duration::from_secs(10));
        socket.set_read_timeout(limit).expect("a limit");
        socket.send_to(b"to the guest", "10.9.0.2:7").expect("sent");
        let mut frame = guest.receive(|f| f.ends_with(b"to the guest").then(|| f.to_vec()));
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 2]);
        // Back: both ends of everything change places, which leaves the sums as they are.
        for (a, b, bytes) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
            for n in 0..bytes {
                frame.swap(a + n, b + n);
            }
        }
        guest.send(frame);
        let mut buffer = [0; 100];
        let (n, from) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..n], from.port()), (&b"to the guest"[..], 7));
        // It is taken now, and a name has its limits.
        let text = Tap::new("ferry0").err().expect("busy").to_string();
        assert!(
            text.starts_with("cannot open the TAP interface 'ferry0'"),
            "{text}"
        );
        assert!(Tap::new("a-name-of-16-byte").is_err());
        assert!(Tap::new("").is_err());
    }
}

//! What the host of these tests does: serves files, answers names, connects to guests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes without a pattern.
pub fn content(bytes: usize) -> Vec<u8> {
    let mut x = 1u64;
    (0..bytes)
        .map(|_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .collect()
}

pub fn md5(bytes: &[u8]) -> String {
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("md5sum");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(bytes)
        .expect("written");
    let output = child.wait_with_output().expect("an answer").stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Answers each HTTP request on loopback with the same bytes, until it is dropped.
pub struct Server {
    at: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn new(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || serve(&listener, &bytes));
        Self {
            at,
            thread: Some(thread),
        }
    }
    pub fn port(&self) -> u16 {
        self.at.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A connection without a request is the last one.
        drop(TcpStream::connect(self.at));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, bytes: &[u8]) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut request = [0; 4096];
        match stream.read(&mut request) {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let head = format!(
            "HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        );
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(bytes));
    }
}

/// Connects through the forwarded port until the guest's program answers.
pub fn talk(port: u16, ended: &AtomicBool) -> String {
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        let _ = stream.write_all(b"from-the-host\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let mut text = String::new();
        if stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
            return text;
        }
    }
    String::new()
}

/// A resolver for which every name has one address (RFC 1035, 4.1), until `ended`.
pub fn resolve(socket: &UdpSocket, address: Ipv4Addr, ended: &AtomicBool) {
    const HEADER: usize = 12;
    const A: u8 = 1;
    let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
    let mut buffer = [0; 512];
    while !ended.load(Ordering::Relaxed) {
        let Ok((n, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let mut answer = buffer[..n].to_vec();
        let end = answer.iter().skip(HEADER).position(|b| *b == 0);
        let Some(end) = end.map(|at| HEADER + at + 5).filter(|end| *end <= n) else {
            continue;
        };
        let wanted = answer[end - 3] == A;
        answer.truncate(end);
        // A response, recursion available; one question, the answers.
        answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(wanted), 0, 0, 0, 0]);
        if wanted {
            answer.extend([0xc0, HEADER as u8, 0, A, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
        }
        let _ = socket.send_to(&answer, peer);
    }
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .expect("a port")
}

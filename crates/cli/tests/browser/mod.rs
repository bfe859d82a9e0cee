//! A headless Chromium, driven by its DevTools protocol.

use crate::common::Running;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where a Chromium is.
pub fn chromium() -> Option<&'static str> {
    let known = ["/usr/bin/chromium", "/usr/bin/google-chrome"];
    known
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
}

/// Whether an answer has as many bytes as it says.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let len = text
        .split("content-length:")
        .nth(1)
        .and_then(|t| t.split("\r\n").next()?.trim().parse().ok());
    len.is_some_and(|len: usize| answer.len() >= head + 4 + len)
}

/// The answer to a request.
pub fn get(host: &str, request: &str) -> String {
    let mut s = TcpStream::connect(host).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    s.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // Chromium leaves the connection open whatever it is asked.
    while !is_whole(&answer) {
        match s.read(&mut buffer).unwrap() {
            0 => break,
            n => answer.extend(&buffer[..n]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A page of Chromium, driven by its DevTools protocol.
pub struct Browser {
    _child: Running,
    socket: TcpStream,
    next: u64,
}

impl Browser {
    /// Opens `url`; the browser keeps its files in `profile`.
    pub fn open(chromium: &str, profile: &str, url: &str) -> Self {
        let mut c = Command::new(chromium);
        c.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--remote-debugging-port=0", "--remote-allow-origins=*"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(url);
        let mut child = Running(
            c.stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let host = loop {
            let line = lines.next().expect("Chromium ended").unwrap();
            if let Some((_, rest)) = line.split_once("DevTools listening on ws://") {
                break rest.split('/').next().unwrap().to_string();
            }
        };
        // What it says later is nobody's to read, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let path = loop {
            let list = get(
                &host,
                &format!("GET /json/list HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            );
            let page = list
                .split("\"webSocketDebuggerUrl\": \"ws://")
                .find_map(|p| {
                    let url = p.split('"').next()?;
                    url.contains("/devtools/page/")
                        .then(|| url.split_once('/').unwrap().1.to_string())
                });
            match page {
                Some(p) => break p,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        let mut socket = TcpStream::connect(&host).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(90)))
            .unwrap();
        let hello = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(hello.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut b = [0];
            socket.read_exact(&mut b).unwrap();
            head.push(b[0]);
        }
        Self {
            _child: child,
            socket,
            next: 0,
        }
    }

    /// Calls a method; tells its result.
    pub fn call(&mut self, method: &str, params: serde_json::Value) -> serde_json::Value {
        self.next += 1;
        let text = serde_json::json!({ "id": self.next, "method": method, "params": params });
        let text = text.to_string();
        // A frame of text, masked with zeros.
        let mut f = vec![0x81, 0x80 | 126];
        f.extend((text.len() as u16).to_be_bytes());
        f.extend([0; 4]);
        f.extend(text.bytes());
        self.socket.write_all(&f).unwrap();
        loop {
            let mut head = [0; 2];
            self.socket.read_exact(&mut head).unwrap();
            let mut len = [0; 8];
            let wide = match head[1] & 0x7f {
                126 => 2,
                127 => 8,
                n => {
                    len[7] = n;
                    0
                }
            };
            self.socket.read_exact(&mut len[8 - wide..]).unwrap();
            let mut data = vec![0; u64::from_be_bytes(len) as usize];
            self.socket.read_exact(&mut data).unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
            if answer["id"] == self.next {
                return answer["result"].clone();
            }
        }
    }

    /// Waits until `condition` holds in the page.
    pub fn wait_for(&mut self, condition: &str) {
        let expression = format!(
            "(async () => {{ for (let i = 0; i < 600; i++) {{ try {{ if ({condition}) return true; }} catch {{}} await new Promise(r => setTimeout(r, 100)); }} return document.body.innerText; }})()"
        );
        let params = serde_json::json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        // While the page is being opened the script's world may go away under it.
        for _ in 0..50 {
            let result = self.call("Runtime.evaluate", params.clone());
            match &result["result"]["value"] {
                serde_json::Value::Null => std::thread::sleep(Duration::from_millis(100)),
                value => return assert_eq!(*value, true, "{condition}: {result}"),
            }
        }
        panic!("the page does not run: {condition}");
    }
}

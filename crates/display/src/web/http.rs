//! As much of HTTP/1.1 (RFC 9112) as one page needs: a request's head, an answer that closes the connection.

use crate::Stream;
use crate::rfb::same;
use std::io::{self, Read, Write};

/// Bytes of a request's head at most.
const HEAD: usize = 16 << 10;

pub(crate) struct Request {
    target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads a GET request; `None` is anything else.
    pub(crate) fn read(stream: &mut Stream) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        // Byte by byte: what follows the head belongs to the WebSocket.
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD || stream.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
        }
        Ok(Self::parse(&String::from_utf8_lossy(&head)))
    }

    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if method != "GET" || !version.starts_with("HTTP/1.") {
            return None;
        }
        let headers = lines.filter_map(|l| l.split_once(':'));
        let headers = headers.map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_string()));
        Some(Self {
            target: target.to_string(),
            headers: headers.collect(),
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    pub(crate) fn has_token(&self, token: &str) -> bool {
        let query = self.target.split_once('?').map_or("", |t| t.1);
        let given = query.split('&').find_map(|p| p.strip_prefix("token="));
        given.is_some_and(|g| same(g.as_bytes(), token.as_bytes()))
    }

    pub(crate) fn websocket_key(&self) -> Option<&str> {
        let get = |name: &str| self.headers.iter().find(|h| h.0 == name).map(|h| &h.1[..]);
        let upgrade = get("upgrade")?.eq_ignore_ascii_case("websocket");
        get("sec-websocket-key").filter(|_| upgrade)
    }
}

/// Answers and is done.
pub(crate) fn answer(stream: &mut Stream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let r = Request::parse(
            "GET /x?a=1&token=abc HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key:  k \r\n\r\n",
        )
        .unwrap();
        assert_eq!((r.path(), r.websocket_key()), ("/x", Some("k")));
        assert!(r.has_token("abc") && !r.has_token("abd") && !r.has_token(""));
        let r = Request::parse("GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(!r.has_token("abc") && r.websocket_key().is_none());
        for bad in ["", "POST / HTTP/1.1\r\n", "GET /\r\n", "GET / SPDY\r\n"] {
            assert!(Request::parse(bad).is_none(), "{bad}");
        }
    }
}

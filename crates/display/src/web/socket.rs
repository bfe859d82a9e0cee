//! WebSocket frames (RFC 6455).

use sha1::{Digest, Sha1};

pub(crate) const BINARY: u8 = 2;
pub(crate) const PONG: u8 = 10;
/// Bytes of a client's message at most.
const LONGEST: usize = 64 << 10;

/// The server's side of the handshake (4.2.2).
pub(crate) fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        base64(&hash.finalize())
    )
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let v = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            match n <= three.len() {
                true => out.push(char::from(ALPHABET[(v >> (18 - 6 * n)) as usize & 63])),
                false => out.push('='),
            }
        }
    }
    out
}

/// A whole message in one frame, unmasked (5.2).
pub(crate) fn frame(opcode: u8, data: &[u8]) -> Vec<u8> {
    let mut f = vec![0x80 | opcode];
    match data.len() {
        n @ 0..=125 => f.push(n as u8),
        n @ 126..=0xffff => {
            f.push(126);
            f.extend((n as u16).to_be_bytes());
        }
        n => {
            f.push(127);
            f.extend((n as u64).to_be_bytes());
        }
    }
    f.extend(data);
    f
}

/// What came from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    /// The client closes, or breaks the rules.
    Close,
}

/// Puts a client's frames together.
#[derive(Default)]
pub(crate) struct Decoder {
    input: Vec<u8>,
    message: Vec<u8>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.input.extend(bytes);
        let mut messages = Vec::new();
        while let Some((used, message)) = self.next() {
            self.input.drain(..used.min(self.input.len()));
            messages.extend(message);
            if messages.last() == Some(&Message::Close) {
                self.input.clear();
                break;
            }
        }
        messages
    }

    /// The first frame: its length, and the message that it completes.
    fn next(&mut self) -> Option<(usize, Option<Message>)> {
        let b = &self.input;
        let (&head, &second) = (b.first()?, b.get(1)?);
        let (len, at) = match second & 0x7f {
            126 => (
                u16::from_be_bytes(b.get(2..4)?.try_into().ok()?).into(),
                4usize,
            ),
            127 => (u64::from_be_bytes(b.get(2..10)?.try_into().ok()?), 10),
            n => (n.into(), 2),
        };
        // Clients mask (5.1), no extension was agreed on, and long messages are not for us.
        let total = len.saturating_add(self.message.len() as u64);
        if second & 0x80 == 0 || head & 0x70 != 0 || total > LONGEST as u64 {
            return Some((0, Some(Message::Close)));
        }
        let key = b.get(at..at + 4)?;
        let data = b.get(at + 4..at + 4 + len as usize)?;
        let plain: Vec<u8> = data
            .iter()
            .zip(key.iter().cycle())
            .map(|(d, k)| d ^ k)
            .collect();
        let used = at + 4 + plain.len();
        let message = match head & 15 {
            0..=2 => {
                self.message.extend(plain);
                let whole = head & 0x80 != 0;
                whole.then(|| Message::Data(std::mem::take(&mut self.message)))
            }
            9 => Some(Message::Ping(plain)),
            10 => None,
            _ => Some(Message::Close),
        };
        Some((used, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_examples() {
        // 1.3
        assert!(accept("dGhlIHNhbXBsZSBub25jZQ==").contains(" s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        // 5.7: "Hello", masked, also in pieces.
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let want = vec![Message::Data(b"Hello".to_vec())];
        assert_eq!(Decoder::default().feed(&hello), want);
        let mut d = Decoder::default();
        let pieces: Vec<Message> = hello.iter().flat_map(|b| d.feed(&[*b])).collect();
        assert_eq!(pieces, want);
        // Unmasked, too long, closing.
        for bad in [
            &[0x81, 5][..],
            &[0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0],
            &[0x88, 0x80, 0, 0, 0, 0],
        ] {
            assert_eq!(Decoder::default().feed(bad), vec![Message::Close]);
        }
        assert_eq!(frame(BINARY, &[7; 200])[..4], [0x82, 126, 0, 200]);
    }
}

//! Base 64 (RFC 4648, section 4): pictures inside JSON.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text for `bytes`, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
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

/// The bytes that `text` stands for; `None` if it is no base 64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.chunks(4) {
        let mut v = 0u32;
        for n in 0..4 {
            let digit = match four.get(n) {
                Some(c) => ALPHABET.iter().position(|a| a == c)? as u32,
                None => 0,
            };
            v = v << 6 | digit;
        }
        let bytes = v.to_be_bytes();
        out.extend(bytes.get(1..four.len()).unwrap_or(&[]));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_examples() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode("Zm9*"), None);
    }
}

//! VNC authentication (RFC 6143, 7.2.2): the challenge, enciphered by DES with the password as the key, each byte's bits reversed.

use des::Des;
use des::cipher::{BlockEncrypt, KeyInit};

/// What a client that knows the password answers.
pub(crate) fn response(password: &[u8], challenge: &[u8; 16]) -> [u8; 16] {
    let mut key = [0; 8];
    for (k, p) in key.iter_mut().zip(password) {
        *k = p.reverse_bits();
    }
    let des = Des::new(&key.into());
    let mut out = *challenge;
    for block in out.chunks_exact_mut(8) {
        let mut b = [0; 8];
        b.copy_from_slice(block);
        let mut b = b.into();
        des.encrypt_block(&mut b);
        block.copy_from_slice(&b);
    }
    out
}

/// Whether two byte strings are the same, in a time that does not tell where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_eight_bytes_count() {
        let c = std::array::from_fn(|i| i as u8);
        assert_eq!(response(b"password", &c), response(b"password1", &c));
        assert_ne!(response(b"password", &c), response(b"passwore", &c));
        // DES of zeros under the zero key (FIPS 81).
        let zeros = response(b"", &[0; 16]);
        assert_eq!(zeros[..8], [0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7]);
        assert!(same(b"a", b"a") && !same(b"a", b"b") && !same(b"a", b"aa"));
    }
}

//! Random bytes for challenges and tokens.

use crate::Error;
use std::fs::File;
use std::io::Read;

/// `N` bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut b = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut b))
        .map_err(Error::Random)?;
    Ok(b)
}

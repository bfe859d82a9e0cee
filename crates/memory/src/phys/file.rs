//! RAM from the host's files, without a copy in between.

use super::Ram;
use arch::GuestPhys;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Pieces that one call to the host takes (IOV_MAX).
const MOST_PIECES: usize = 1024;

impl Ram {
    /// Fills these pieces of RAM (address, bytes), one behind the other, with what `file` has from `offset` on; tells how many bytes that
    /// was: fewer only at the file's end. Code made from what is overwritten becomes stale. A piece that is not RAM is an error, with
    /// nothing read.
    pub fn read_file(
        &self,
        pieces: &[(GuestPhys, usize)],
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<u64> {
        let mut places = Vec::with_capacity(pieces.len());
        for &(addr, bytes) in pieces.iter().filter(|p| p.1 > 0) {
            let place = self.offset(addr, bytes as u64);
            places.push((place.ok_or(io::ErrorKind::InvalidInput)?, bytes));
        }
        for &(place, bytes) in &places {
            self.note(place, bytes);
        }
        let done = self.fill_places(&places, file, offset);
        for &(place, bytes) in &places {
            self.touch_code(place, bytes);
        }
        done
    }

    fn fill_places(
        &self,
        places: &[(usize, usize)],
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<u64> {
        let (mut first, mut skip, mut done) = (0, 0, 0);
        while let Some(rest) = places.get(first..).filter(|r| !r.is_empty()) {
            let vectors: Vec<libc::iovec> = rest
                .iter()
                .take(MOST_PIECES)
                .enumerate()
                .map(|(n, &(place, bytes))| {
                    let skipped = if n == 0 { skip } else { 0 };
                    libc::iovec {
                        // SAFETY: `offset` checked the place; what is skipped is less than its bytes.
                        iov_base: unsafe { self.map.as_mut_ptr().add(place + skipped) }.cast(),
                        iov_len: bytes - skipped,
                    }
                })
                .collect();
            let at = libc::off_t::try_from(offset.saturating_add(done))
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            // SAFETY: the vectors lead into the mapping, which outlives the call; the host writes there as another processor would, and
            // no reference to guest memory is made.
            let read = unsafe {
                libc::preadv(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as i32, at)
            };
            let mut read = match usize::try_from(read) {
                Ok(0) => break,
                Ok(n) => n,
                Err(_) => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => continue,
                    e => return Err(e),
                },
            };
            done += read as u64;
            read += skip;
            skip = 0;
            for &(_, bytes) in rest {
                if read < bytes {
                    skip = read;
                    break;
                }
                read -= bytes;
                first += 1;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn pieces_take_a_file_in_order_up_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let ram = Ram::new(1 << 20).unwrap();
        let pieces = [(0x1000, 100), (0x8000, 0), (0x3ffd, 7), (0x2_0000, 9000)];
        let pieces = pieces.map(|(at, n)| (GuestPhys(at), n));
        assert_eq!(ram.read_file(&pieces, file.as_fd(), 500).unwrap(), 9107);
        let mut want = bytes[500..].iter();
        for (at, n) in pieces {
            let mut found = vec![0; n];
            ram.read(at, &mut found).unwrap();
            assert!(found.iter().eq(want.by_ref().take(n)), "{at:?}");
        }
        // The file ends: the rest stays as it is.
        ram.write(GuestPhys(0x1000), &[0xee; 100]).unwrap();
        let end = [(GuestPhys(0x1000), 60), (GuestPhys(0x5000), 60)];
        assert_eq!(ram.read_file(&end, file.as_fd(), 19_950).unwrap(), 50);
        let mut found = [0; 60];
        ram.read(GuestPhys(0x1000), &mut found).unwrap();
        assert!(found[..50] == bytes[19_950..] && found[50..] == [0xee; 10]);
        // More pieces than the host takes at once.
        let many: Vec<_> = (0..3000)
            .map(|n| (GuestPhys(0x1_0000 + 8 * n), 4))
            .collect();
        assert_eq!(ram.read_file(&many, file.as_fd(), 0).unwrap(), 12_000);
        ram.read(GuestPhys(0x1_0000 + 8 * 2999), &mut found[..4])
            .unwrap();
        assert!(found[..4] == bytes[11_996..12_000]);
        let outside = [(GuestPhys(0x1000), 4), (GuestPhys((1 << 20) - 2), 4)];
        assert!(ram.read_file(&outside, file.as_fd(), 0).is_err());
    }

    #[test]
    fn code_that_is_overwritten_becomes_stale() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 4096]).unwrap();
        let ram = Ram::new(1 << 20).unwrap();
        let before = ram.mark_code(3, 1).unwrap().0;
        let piece = [(GuestPhys(0x3000), 64)];
        assert_eq!(ram.read_file(&piece, file.as_fd(), 0).unwrap(), 64);
        assert_ne!(ram.generation(3), before);
        assert!(ram.has_stale());
    }
}

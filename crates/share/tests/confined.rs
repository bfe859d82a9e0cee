//! A guest that speaks 9P as it likes, in a folder that stands beside a secret.

use share::{Access, Session, Share};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

/// A folder `inside` with some things in it, beside a file `secret`.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("inside");
    std::fs::create_dir_all(inside.join("sub")).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    std::fs::write(inside.join("file"), "content").unwrap();
    symlink("../secret", inside.join("out")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    symlink("/", inside.join("sub/root")).unwrap();
    dir
}

/// Speaks with the share on its thread.
struct Guest {
    share: Share,
}

fn string(text: &str) -> Vec<u8> {
    let mut s = (text.len() as u16).to_le_bytes().to_vec();
    s.extend(text.as_bytes());
    s
}

impl Guest {
    fn new(dir: &Path, access: Access) -> Self {
        let guest = Self {
            share: Share::new(&dir.join("inside"), access).unwrap(),
        };
        let version = [&0x1_0000u32.to_le_bytes()[..], &string("9P2000.L")].concat();
        guest.say(100, &version).unwrap();
        let attach = [
            &[0; 4][..],
            &[0xff; 4],
            &string("root"),
            &string(""),
            &[0; 4],
        ]
        .concat();
        guest.say(104, &attach).unwrap();
        guest
    }
    fn raw(&self, message: Vec<u8>) -> Option<Vec<u8>> {
        let (to, from) = mpsc::channel();
        self.share.submit(Box::new(move |s: &mut Session| {
            to.send(s.answer(&message)).unwrap()
        }));
        from.recv().unwrap()
    }
    /// The answer's body, or its error number.
    fn say(&self, kind: u8, body: &[u8]) -> Result<Vec<u8>, u32> {
        let mut message = (7 + body.len() as u32).to_le_bytes().to_vec();
        message.extend([kind, 1, 0]);
        message.extend(body);
        let answer = self.raw(message).unwrap();
        assert_eq!(
            answer.len(),
            u32::from_le_bytes(answer[..4].try_into().unwrap()) as usize
        );
        match answer[4] {
            7 => Err(u32::from_le_bytes(answer[7..11].try_into().unwrap())),
            k => {
                assert_eq!(k, kind + 1);
                Ok(answer[7..].to_vec())
            }
        }
    }
    /// Walks from the root; tells how many names were found.
    fn walk(&self, fid: u32, names: &[&str]) -> Result<u16, u32> {
        let mut body = [0; 4].to_vec();
        body.extend(fid.to_le_bytes());
        body.extend((names.len() as u16).to_le_bytes());
        for name in names {
            body.extend(string(name));
        }
        let answer = self.say(110, &body)?;
        Ok(u16::from_le_bytes(answer[..2].try_into().unwrap()))
    }
    fn open(&self, fid: u32, flags: u32) -> Result<Vec<u8>, u32> {
        self.say(12, &[fid.to_le_bytes(), flags.to_le_bytes()].concat())
    }
    fn read(&self, fid: u32) -> Result<Vec<u8>, u32> {
        let body = [&fid.to_le_bytes()[..], &[0; 8], &100u32.to_le_bytes()].concat();
        self.say(116, &body).map(|b| b[4..].to_vec())
    }
    fn create(&self, fid: u32, name: &str) -> Result<Vec<u8>, u32> {
        let numbers = [2u32, 0o644, 0].map(u32::to_le_bytes).concat();
        self.say(
            14,
            &[&fid.to_le_bytes()[..], &string(name), &numbers].concat(),
        )
    }
    /// A message of a fid, a name and a number.
    fn named(&self, kind: u8, name: &str) -> Result<Vec<u8>, u32> {
        let tail = if kind == 72 { 8 } else { 4 };
        let body = [&[0; 4][..], &string(name), &vec![0; tail]].concat();
        self.say(kind, &body)
    }
    fn rename(&self, old: &str, new: &str) -> Result<Vec<u8>, u32> {
        self.say(
            74,
            &[&[0; 4][..], &string(old), &[0; 4], &string(new)].concat(),
        )
    }
}

const ACCES: u32 = 13;
const ROFS: u32 = 30;
const OUTSIDE: [&str; 7] = [
    "..",
    ".",
    "",
    "/",
    "../secret",
    "sub/../../secret",
    "/etc/passwd",
];

#[test]
fn files_are_read_written_made_and_removed() {
    let dir = folder();
    let g = Guest::new(dir.path(), Access::ReadWrite);
    assert_eq!(g.walk(1, &["file"]), Ok(1));
    g.open(1, 0o40002).unwrap();
    assert_eq!(g.read(1).unwrap(), b"content");
    let write = [
        &1u32.to_le_bytes()[..],
        &[0; 8],
        &4u32.to_le_bytes(),
        b"CONT",
    ]
    .concat();
    assert_eq!(g.say(118, &write).unwrap(), 4u32.to_le_bytes());
    assert_eq!(g.walk(2, &["sub"]), Ok(1));
    g.create(2, "new").unwrap();
    g.named(72, "made").unwrap();
    g.rename("file", "moved").unwrap();
    let inside = dir.path().join("inside");
    assert_eq!(std::fs::read(inside.join("moved")).unwrap(), b"CONTent");
    assert!(inside.join("sub/new").is_file() && inside.join("made").is_dir());
    g.named(76, "moved").unwrap();
    assert!(!inside.join("moved").exists());
}

#[test]
fn no_name_leads_out() {
    let dir = folder();
    let g = Guest::new(dir.path(), Access::ReadWrite);
    for name in OUTSIDE {
        assert_eq!(g.walk(1, &[name]), Err(ACCES), "{name}");
        assert_eq!(g.walk(1, &["sub", name, "secret"]), Err(ACCES), "{name}");
        assert_eq!(g.create(0, name), Err(ACCES), "{name}");
        assert_eq!(g.named(72, name), Err(ACCES), "{name}");
        assert_eq!(g.named(76, name), Err(ACCES), "{name}");
        assert_eq!(g.rename("file", name), Err(ACCES), "{name}");
        assert_eq!(g.rename(name, "file"), Err(ACCES), "{name}");
        let link = [&[0; 8][..], &string(name)].concat();
        assert_eq!(g.say(70, &link), Err(ACCES), "{name}");
    }
    assert_eq!(g.walk(1, &["fi\0le"]), Err(ACCES));
    // Nothing was made or lost.
    let names = |d: &Path| std::fs::read_dir(d).unwrap().count();
    assert_eq!(
        (names(dir.path()), names(&dir.path().join("inside"))),
        (2, 4)
    );
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn symbolic_links_are_not_followed() {
    let dir = folder();
    let g = Guest::new(dir.path(), Access::ReadWrite);
    // The link itself is found, and told; what it names is the guest's to look up.
    assert_eq!(g.walk(1, &["out"]), Ok(1));
    let told = g.say(22, &1u32.to_le_bytes()).unwrap();
    assert_eq!(told[2..], *b"../secret");
    for flags in [0, 2, 0o1001] {
        assert_eq!(g.open(1, flags), Err(ACCES));
    }
    assert!(g.read(1).is_err());
    // A way through a link ends at the link.
    assert_eq!(g.walk(2, &["up", "secret"]), Ok(1));
    assert!(g.open(2, 0).is_err());
    assert_eq!(g.walk(3, &["sub", "root", "etc", "passwd"]), Ok(2));
    assert!(g.open(3, 0).is_err());
    // Nothing is made behind one.
    assert_eq!(g.walk(4, &["up"]), Ok(1));
    assert!(g.create(4, "new").is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    // A mode or a length of what a link names does not change.
    let secret = dir.path().join("secret");
    let before = std::fs::metadata(&secret).unwrap();
    let attributes = |valid: u32| {
        let mut body = [1u32, valid, 0o777].map(u32::to_le_bytes).concat();
        body.resize(4 + 4 + 4 + 8 + 8 + 32, 0);
        body
    };
    for valid in [1, 8] {
        let _ = g.say(26, &attributes(valid));
    }
    let after = std::fs::metadata(&secret).unwrap();
    assert_eq!(
        (before.len(), before.permissions()),
        (after.len(), after.permissions())
    );
}

#[test]
fn what_is_no_file_is_not_opened() {
    let dir = folder();
    let fifo = dir.path().join("inside/fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let g = Guest::new(dir.path(), Access::ReadWrite);
    assert_eq!(g.walk(1, &["fifo"]), Ok(1));
    // It would wait for a writer.
    assert_eq!(g.open(1, 0), Err(ACCES));
}

#[test]
fn read_only_is_that() {
    let dir = folder();
    let g = Guest::new(dir.path(), Access::ReadOnly);
    assert_eq!(g.walk(1, &["file"]), Ok(1));
    for flags in [1, 2, 0o1000, 0o2000, 0o100] {
        assert_eq!(g.open(1, flags), Err(ROFS), "{flags:o}");
    }
    g.open(1, 0).unwrap();
    assert_eq!(g.read(1).unwrap(), b"content");
    assert_eq!(g.create(0, "new"), Err(ROFS));
    assert_eq!(g.named(72, "new"), Err(ROFS));
    assert_eq!(g.named(76, "file"), Err(ROFS));
    assert_eq!(g.rename("file", "new"), Err(ROFS));
    // Whatever else there is and will be.
    for kind in (0..=255).filter(|k| {
        ![
            8, 12, 22, 24, 30, 40, 50, 52, 54, 100, 102, 104, 108, 110, 116, 120,
        ]
        .contains(k)
    }) {
        assert_eq!(g.say(kind, &[0; 64]), Err(ROFS), "{kind}");
    }
    assert_eq!(
        std::fs::read_dir(dir.path().join("inside"))
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn messages_that_are_none_are_answered_or_dropped() {
    let dir = folder();
    let g = Guest::new(dir.path(), Access::ReadWrite);
    assert_eq!(g.raw(vec![]), None);
    assert_eq!(g.raw(vec![7, 0, 0, 0, 110]), None);
    assert_eq!(g.raw(vec![0xff; 64]), None);
    assert_eq!(g.raw(vec![3, 0, 0, 0, 110, 1, 0]), None);
    let mut x = 1u64;
    for _ in 0..20_000 {
        let mut message = Vec::new();
        for _ in 0..8 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            message.extend(x.to_le_bytes());
        }
        let n = 7 + (x >> 8) as usize % 50;
        message.truncate(n);
        message[..4].copy_from_slice(&(n as u32).to_le_bytes());
        message[4] %= 128;
        // Few fids, so that some are there.
        message[7..].iter_mut().take(8).for_each(|b| *b &= 1);
        g.raw(message);
    }
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

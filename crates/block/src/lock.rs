//! Advisory locks (flock) against two machines that write one image. They bind Ferry's processes; other programs may not look at them.

use crate::{Access, Error};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether the host's page cache stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direct {
    Yes,
    No,
}

/// Opens an image's file and locks it: writers alone, readers with each other.
pub(crate) fn open(path: &Path, access: Access, direct: Direct) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::ReadWrite);
    #[cfg(target_os = "linux")]
    if direct == Direct::Yes {
        options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
    }
    let _ = direct;
    let failed = |source| Error::Open {
        path: path.to_owned(),
        wanted: match access {
            Access::ReadOnly => "read",
            Access::ReadWrite => "read and written; readonly=on asks for less",
        },
        source,
    };
    if path.is_dir() {
        return Err(Error::Directory {
            path: path.to_owned(),
        });
    }
    let file = options.open(path).map_err(failed)?;
    let locked = match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: path.to_owned(),
        }),
        // A file system without locks: nothing to hold on to.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

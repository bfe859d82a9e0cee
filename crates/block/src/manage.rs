//! Making and changing images: what `ferry disk` does.
//!
//! Absent: internal snapshots, preallocation, making VMDK and VHDX, compressing.

use crate::lock::Direct;
use crate::open::{Format, Options, Persistence, open, probe};
use crate::qcow2::{guarded, storage};
use crate::{Access, Cache, Error, Image, qcow2_check};
use imago::file::File as Storage;
use imago::format::PreallocateMode;
use imago::format::builder::{FormatCreateBuilder, FormatDriverBuilder};
use imago::{DenyImplicitOpenGate, FormatAccess};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Largest disk that can be made.
pub const SIZE_LIMIT: u64 = 64 << 40;
/// Bytes that are copied at once.
const CHUNK: u64 = 1 << 20;
/// The grain in which zeroes are left out of a copy.
const HOLE: usize = 1 << 16;

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub format: Format,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes that the file takes on the host.
    pub allocated: u64,
    /// The backing file, as the image names it.
    pub backing: Option<String>,
    pub backing_format: Option<String>,
    /// qcow2: bytes of a cluster.
    pub cluster: Option<u64>,
}

fn work(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Work {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Deletes the file that could not be finished.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // The error that led here is told; nothing can be done about another.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new file: an image in the way is not overwritten.
fn create_file(path: &Path) -> Result<(File, Unfinished), Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|source| Error::Create {
            path: path.to_owned(),
            source,
        })?;
    Ok((file, Unfinished(Some(path.to_owned()))))
}

fn check_size(size: u64) -> Result<(), Error> {
    if size == 0 || size > SIZE_LIMIT || !size.is_multiple_of(512) {
        return Err(Error::Request(format!(
            "a disk cannot have {size} bytes; accepted are multiples of 512 up to {}T",
            SIZE_LIMIT >> 40
        )));
    }
    Ok(())
}

/// A new image of zeroes, or of what `backing` holds. Without `size` it is as large as `backing`.
pub fn create(
    path: &Path,
    format: Format,
    size: Option<u64>,
    backing: Option<(&Path, Option<Format>)>,
) -> Result<u64, Error> {
    let mut names = None;
    let mut size = size;
    if let Some((name, backing_format)) = backing {
        if format != Format::Qcow2 {
            return Err(Error::Request(format!(
                "a {format} image cannot have a backing file; accepted is qcow2"
            )));
        }
        // The name stands in the image as it is given: it is looked up from the image's directory.
        let from_here = path.parent().unwrap_or(Path::new("")).join(name);
        let backing_format = match backing_format {
            Some(f) => f,
            None => probe(&from_here)?,
        };
        if !backing_format.writable() {
            return Err(Error::Request(format!(
                "a {backing_format} image cannot be a backing file; accepted are raw and qcow2 (`ferry disk convert` makes one)"
            )));
        }
        let read_only = Options {
            format: Some(backing_format),
            access: Access::ReadOnly,
            ..Options::default()
        };
        let base = open(&from_here, &read_only)?.size();
        size = size.or(Some(base.next_multiple_of(512)));
        let Some(name) = name.to_str() else {
            return Err(Error::Request(
                "the name of a backing file must be UTF-8".into(),
            ));
        };
        names = Some((name.to_owned(), backing_format.to_string()));
    }
    let Some(size) = size else {
        return Err(Error::Request("a new disk needs a size".into()));
    };
    check_size(size)?;
    if !format.writable() {
        return Err(Error::NoWriting { format });
    }
    let (file, mut unfinished) = create_file(path)?;
    let failed = work("create", path);
    match format {
        Format::Raw => file.set_len(size).map_err(failed)?,
        _ => guarded(|| {
            let mut builder =
                imago::qcow2::Qcow2::<Storage>::create_builder(file.try_into()?).size(size);
            if let Some((name, format)) = names {
                builder = builder.backing(name, format);
            }
            builder.create()
        })
        .map_err(failed)?,
    }
    unfinished.0 = None;
    Ok(size)
}

/// What the file is.
pub fn info(path: &Path, format: Option<Format>) -> Result<Info, Error> {
    let format = match format {
        Some(format) => format,
        None => probe(path)?,
    };
    let mut info = Info {
        format,
        size: 0,
        allocated: allocated(path)?,
        backing: None,
        backing_format: None,
        cluster: None,
    };
    if format == Format::Qcow2 {
        // Without its backing files: they may not be there.
        let file = storage(path, Access::ReadOnly, Direct::No)?;
        let image = guarded(|| imago::qcow2::Qcow2::<Storage>::open_image(file, false))
            .map_err(|e| malformed(path, format, &e))?;
        info.backing = image.implicit_backing_file().cloned();
        info.backing_format = image.implicit_backing_format().cloned();
        info.cluster = Some(qcow2_check::cluster_bytes(path)?);
        info.size = FormatAccess::new(image).size();
        return Ok(info);
    }
    let options = Options {
        format: Some(format),
        access: Access::ReadOnly,
        ..Options::default()
    };
    info.size = open(path, &options)?.size();
    Ok(info)
}

fn malformed(path: &Path, format: Format, e: &io::Error) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        format,
        reason: e.to_string(),
    }
}

/// Bytes on the host's disk.
fn allocated(path: &Path) -> Result<u64, Error> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        wanted: "read",
        source,
    })?;
    Ok(metadata.blocks() * 512)
}

/// Copies a disk to a new image of another format; `progress` hears (done, all) bytes. Backing files are merged in. The image has its name
/// only when it is whole: until then it is `NAME.part`, which the next try removes.
pub fn convert(
    from: &Path,
    from_format: Option<Format>,
    to: &Path,
    to_format: Format,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    if !to_format.writable() {
        return Err(Error::NoWriting { format: to_format });
    }
    let source = open(
        from,
        &Options {
            format: from_format,
            access: Access::ReadOnly,
            ..Options::default()
        },
    )?;
    let size = source.size();
    if to.exists() {
        return Err(Error::Create {
            path: to.to_owned(),
            source: io::ErrorKind::AlreadyExists.into(),
        });
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let _ = std::fs::remove_file(&part);
    create(
        &part,
        to_format,
        Some(size.next_multiple_of(512).max(512)),
        None,
    )?;
    let mut unfinished = Unfinished(Some(part.clone()));
    let target = open(
        &part,
        &Options {
            format: Some(to_format),
            ..Options::default()
        },
    )?;
    let mut buffer = vec![0; CHUNK as usize];
    let mut at = 0;
    while at < size {
        progress(at, size);
        let n = CHUNK.min(size - at) as usize;
        let piece = buffer.get_mut(..n).unwrap_or_default();
        source.read(at, piece).map_err(work("read", from))?;
        copy_data(&*target, at, piece).map_err(work("write", &part))?;
        at += n as u64;
    }
    target.flush().map_err(work("write", &part))?;
    progress(size, size);
    drop(target);
    std::fs::rename(&part, to).map_err(work("name", to))?;
    unfinished.0 = None;
    Ok(())
}

/// Writes what is not zero into an image of zeroes.
fn copy_data(target: &dyn Image, at: u64, data: &[u8]) -> io::Result<()> {
    let mut run = 0..0;
    for (n, piece) in data.chunks(HOLE).enumerate() {
        let here = n * HOLE;
        if piece.iter().any(|&b| b != 0) {
            if run.end != here {
                run = here..here;
            }
            run.end = here + piece.len();
            if here + piece.len() < data.len() {
                continue;
            }
        }
        if !run.is_empty() {
            target.write(
                at + run.start as u64,
                data.get(run.clone()).unwrap_or_default(),
            )?;
        }
        run = here + piece.len()..here + piece.len();
    }
    Ok(())
}

/// Whether a disk may lose its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    Refused,
    Allowed,
}

/// Gives a raw or qcow2 disk another size.
pub fn resize(path: &Path, format: Option<Format>, size: u64, shrink: Shrink) -> Result<(), Error> {
    check_size(size)?;
    let format = match format {
        Some(format) => format,
        None => probe(path)?,
    };
    let old = info(path, Some(format))?.size;
    if size < old && shrink == Shrink::Refused {
        return Err(Error::Request(format!(
            "{} has {old} bytes and would lose its end; accepted with --shrink",
            path.display()
        )));
    }
    let file = match format {
        Format::Raw | Format::Qcow2 => storage(path, Access::ReadWrite, Direct::No)?,
        _ => return Err(Error::NoWriting { format }),
    };
    guarded(|| {
        let mut image = match format {
            Format::Raw => FormatAccess::new(imago::raw::Raw::open_image(file, true)?),
            _ => FormatAccess::new(
                imago::qcow2::Qcow2::<Storage>::builder(file)
                    .backing(None)
                    .write(true)
                    .open(DenyImplicitOpenGate::default())?,
            ),
        };
        image.resize(size, PreallocateMode::Zero)?;
        image.flush()?;
        image.sync()
    })
    .map_err(work("resize", path))
}

/// A new qcow2 image on top of `base`, which must not be written from then on.
pub fn snapshot(base: &Path, overlay: &Path, format: Option<Format>) -> Result<u64, Error> {
    // The name in the image must hold from the overlay's directory.
    let absolute;
    let same = base.parent() == overlay.parent();
    let name = match base.file_name() {
        Some(name) if same => Path::new(name),
        _ => {
            absolute = std::path::absolute(base).map_err(work("find", base))?;
            &absolute
        }
    };
    create(overlay, Format::Qcow2, None, Some((name, format)))
}

/// Reads all of a disk that has no check of its own.
pub fn read_through(
    path: &Path,
    format: Format,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    let options = Options {
        format: Some(format),
        access: Access::ReadOnly,
        cache: Cache::Writeback,
        persistence: Persistence::Kept,
    };
    let image = open(path, &options)?;
    let size = image.size();
    let mut buffer = vec![0; CHUNK as usize];
    let mut at = 0;
    while at < size {
        progress(at, size);
        let n = CHUNK.min(size - at) as usize;
        image
            .read(at, buffer.get_mut(..n).unwrap_or_default())
            .map_err(work("read", path))?;
        at += n as u64;
    }
    progress(size, size);
    Ok(())
}

//! Guest programs: what the processor and the board must do where user mode cannot look. `README.md` says how to write one.
//!
//! This library only finds and assembles them; `tests/` boots them in a machine, `run-all` in any emulator.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a directory of ready images; nasm is not needed then (`cargo xtask guest-tests build` fills one).
pub const IMAGES: &str = "FERRY_GUEST_IMAGES";

/// Why there is no image of a program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nasm, which assembles the guest programs, is missing (Debian: apt-get install nasm)")]
    NoAssembler,
    #[error("cannot run nasm")]
    Assembler(#[source] std::io::Error),
    #[error("nasm refuses {program}:\n{messages}")]
    Refused { program: String, messages: String },
    #[error("cannot read the directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no image of {program} in {directory}")]
    NoImage { program: String, directory: PathBuf },
}

/// Where the sources are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// The names of all programs, sorted.
pub fn programs() -> Result<Vec<String>, Error> {
    let path = sources();
    let failed = |source| Error::Directory {
        path: path.clone(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension() == Some(OsStr::new("asm"))
            && let Some(name) = file.file_stem().and_then(OsStr::to_str)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The image of `program`: one of [`IMAGES`], or assembled into `directory`.
pub fn image(program: &str, directory: &Path) -> Result<PathBuf, Error> {
    match std::env::var_os(IMAGES) {
        Some(ready) => {
            let image = Path::new(&ready).join(format!("{program}.bin"));
            match image.is_file() {
                true => Ok(image),
                false => Err(Error::NoImage {
                    program: program.to_owned(),
                    directory: ready.into(),
                }),
            }
        }
        None => assemble(program, directory),
    }
}

/// Assembles `program` into `directory`, which is made if it is not there.
pub fn assemble(program: &str, directory: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::Directory {
        path: directory.to_owned(),
        source,
    })?;
    let image = directory.join(format!("{program}.bin"));
    // nasm looks for includes beside the source only if told so, and wants the slash.
    let mut include = sources().into_os_string();
    include.push("/");
    let output = Command::new("nasm")
        .args(["-f", "bin", "-Werror", "-I"])
        .arg(include)
        .arg("-o")
        .arg(&image)
        .arg(sources().join(format!("{program}.asm")))
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NoAssembler,
            _ => Error::Assembler(error),
        })?;
    match output.status.success() {
        true => Ok(image),
        false => Err(Error::Refused {
            program: program.to_owned(),
            messages: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

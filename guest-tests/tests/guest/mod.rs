//! The files of the guest cache, which `cargo xtask guest` keeps, and the engine to run them with.

use machine::EngineKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the guest cache, or why there is none.
pub fn file(kind: &str) -> Result<PathBuf, String> {
    let mut xtask = match std::env::var_os("FERRY_XTASK") {
        Some(xtask) => Command::new(xtask),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.arg("xtask");
            cargo
        }
    };
    let output = xtask
        .args(["guest", "path", kind])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(|e| e.to_string())?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match output.status.success() && path.is_file() {
        true => Ok(path),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The fastest engine of this host.
pub fn fastest() -> EngineKind {
    EngineKind::available()
        .last()
        .map_or(EngineKind::Eval, |&(_, kind)| kind)
}

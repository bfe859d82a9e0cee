//! What every task needs of the host: where the repository and the cache are, and running programs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the repository: the folder of the workspace's `Cargo.toml`.
pub fn repo() -> Result<PathBuf> {
    // Cargo sets the variable for `cargo xtask`; a binary started by hand is in the repository or below it.
    let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_dir()?,
    };
    let root = start
        .ancestors()
        .find(|dir| dir.join("tools/xtask").is_dir() && dir.join("Cargo.toml").is_file());
    match root {
        Some(dir) => Ok(dir.to_path_buf()),
        None => bail!("{} is not inside Ferry's repository", start.display()),
    }
}

/// Where cargo puts a program that it builds with `profile`.
pub fn built(profile: &str, program: &str) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => repo()?.join("target"),
    };
    Ok(target.join(profile).join(program))
}

/// The folder for all that is fetched or made once: `$FERRY_CACHE`, or `.cache` in the repository.
pub fn cache() -> Result<PathBuf> {
    let dir = match std::env::var_os("FERRY_CACHE") {
        Some(dir) if !dir.is_empty() => std::path::absolute(PathBuf::from(dir))?,
        _ => repo()?.join(".cache"),
    };
    make_dir(&dir)?;
    Ok(dir)
}

/// Creates `dir` and its parents.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))
}

/// Holds the lock of `dir` until dropped, so that two tasks never fill one cache at the same time.
pub fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        say(&format!(
            "waiting for another task that fills {}",
            dir.display()
        ));
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Writes `bytes` to `path` so that a reader sees the old file or the whole new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

/// One line of progress. Standard output belongs to results, so it goes to standard error.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Is there a program of that name on the search path?
pub fn has_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// A command with English messages, since some are parsed.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs `command` to its end, its standard output shown on standard error. A failure names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", show(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", show(command));
    }
    Ok(())
}

/// Runs `command` to its end and returns its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", show(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", show(command), output.status);
    }
    Ok(output.stdout)
}

/// [`output`] as text.
pub fn output_text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

/// The command as a person would type it, long option lists cut.
fn show(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    if line.chars().count() > 240 {
        line = line.chars().take(240).chain(" ...".chars()).collect();
    }
    line
}

//! Debian packages by name, through a private apt root.
//!
//! The host's own apt state is never touched: lists, cache and package status live in a folder of the cache,
//! for the architectures asked for. So it works for ordinary users, for foreign architectures, and
//! on a machine whose own lists were never updated. What apt downloads, apt verifies (signed `InRelease`, hashes).
//! The sources are the host's own Debian ones, see [`sources`].

mod sources;

pub use sources::mirror;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;

/// A private apt root.
pub struct Apt {
    root: PathBuf,
    conf: PathBuf,
    /// Were the lists brought up to date in this run?
    fresh: Cell<bool>,
}

impl Apt {
    /// Opens (and at first use fills) the private root in `root` for `architectures`, the first one being native.
    pub fn open(root: &Path, architectures: &[&str]) -> Result<Apt> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if !host::has_program(program) {
                bail!(
                    "this host has no `{program}`: Debian packages are fetched with apt (packages apt and dpkg of a \
                     Debian system); fill the cache {} on a Debian machine and copy it here",
                    host::cache()?.display()
                );
            }
        }
        for dir in ["lists/partial", "cache/archives/partial", "log"] {
            host::make_dir(&root.join(dir))?;
        }
        let status = root.join("status");
        if !status.exists() {
            host::write_whole(&status, b"")?;
        }
        let list = root.join("debian.sources");
        let text = sources::debian_sources()?;
        let stale = fs::read_to_string(&list).is_ok_and(|old| old != text);
        host::write_whole(&list, text.as_bytes())?;

        let conf = root.join("apt.conf");
        host::write_whole(&conf, configuration(root, architectures).as_bytes())?;
        let apt = Apt {
            root: root.to_path_buf(),
            conf,
            fresh: Cell::new(false),
        };
        if stale || !apt.root.join("updated").exists() {
            apt.update()?;
        }
        Ok(apt)
    }

    /// Brings the package lists up to date. A list that cannot be had (a mirror in the middle of a change, a suite
    /// that lacks an architecture) is only reported: what matters is whether the packages asked for are found.
    pub fn update(&self) -> Result<()> {
        self.fresh.set(true);
        host::say("updating the package lists of the private apt root");
        if host::run(self.apt_get().arg("update")).is_ok() {
            return host::write_whole(&self.root.join("updated"), b"");
        }
        let lists = fs::read_dir(self.root.join("lists"))?.flatten();
        if !lists
            .into_iter()
            .any(|list| list.file_name().to_string_lossy().contains("_Packages"))
        {
            bail!(
                "no package list can be fetched: is there a network? FERRY_DEBIAN_MIRROR names another mirror than the \
                 host's own sources; with a filled cache ({}) none is needed",
                host::cache()?.display()
            );
        }
        host::say("some package lists could not be fetched; going on with the others");
        Ok(())
    }

    /// Runs `action`, and once more with new lists if it fails with old ones: they name what the archive replaced since.
    fn with_lists<T>(&self, action: impl Fn() -> Result<T>) -> Result<T> {
        match action() {
            Err(_) if !self.fresh.get() => self.update().and_then(|()| action()),
            result => result,
        }
    }

    /// The first package on which `package` depends whose name begins with `prefix`: how `linux-image-*` meta
    /// packages name the kernel of the day.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let text = host::output_text(self.tool("apt-cache").args(["depends", package]))
            .with_context(|| format!("the apt sources have no package {package}"))?;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("{package} depends on no package {prefix}*"))
    }

    /// Downloads `package` (`name`, `name:arch` or `name/suite`) into `dir` and returns the file.
    pub fn download(&self, dir: &Path, package: &str) -> Result<PathBuf> {
        host::make_dir(dir)?;
        self.with_lists(|| self.download_now(dir, package))
    }

    fn download_now(&self, dir: &Path, package: &str) -> Result<PathBuf> {
        // 'URI' file-name size hash
        let line = host::output_text(self.apt_get().args(["download", "--print-uris", package]))
            .with_context(|| format!("the apt sources have no package {package}"))?;
        let mut fields = line.split_whitespace().skip(1);
        let (name, size) = (
            fields.next(),
            fields.next().and_then(|size| size.parse::<u64>().ok()),
        );
        let (Some(name), Some(size)) = (name, size) else {
            bail!("apt-get does not say where {package} is: {line:?}");
        };
        let file = dir.join(name);
        if fs::metadata(&file).is_ok_and(|found| found.len() == size) {
            host::say(&format!("{name} is in the cache"));
        } else {
            host::say(&format!(
                "downloading {name} ({} MB)",
                size.div_ceil(1_000_000)
            ));
            host::run(
                self.apt_get()
                    .args(["-q", "download", package])
                    .current_dir(dir),
            )?;
        }
        Ok(file)
    }

    /// The packages (`name:arch`) that installing `packages` would bring, with all that they depend on.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.apt_get();
        command
            .args(["install", "--no-install-recommends", "--print-uris"])
            .args(packages);
        let text = host::output_text(&mut command).with_context(|| {
            format!(
                "the apt sources lack one of the packages {}",
                packages.join(" ")
            )
        })?;
        // 'URI' name_version_architecture.deb size hash
        let file_names = text
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split(' ').nth(1));
        let names = file_names.filter_map(|file| {
            let mut parts = file.strip_suffix(".deb")?.split('_');
            let (name, _version, arch) = (parts.next()?, parts.next()?, parts.next()?);
            Some(if arch == "all" {
                name.to_owned()
            } else {
                format!("{name}:{arch}")
            })
        });
        Ok(names.collect())
    }

    /// Downloads all of `packages` into `dir`, `release` naming the suite to prefer, if any.
    pub fn download_all(
        &self,
        dir: &Path,
        packages: &[String],
        release: Option<&str>,
    ) -> Result<()> {
        host::make_dir(dir)?;
        self.with_lists(|| {
            let mut command = self.apt_get();
            command.args(release.iter().flat_map(|suite| ["-t", suite]));
            host::run(command.arg("download").args(packages).current_dir(dir))
        })
    }

    /// The backports suite of the release.
    pub fn backports(&self) -> Result<String> {
        let text = fs::read_to_string(self.root.join("debian.sources"))?;
        text.split_whitespace()
            .find(|word| word.ends_with("-backports"))
            .map(str::to_owned)
            .context("the apt sources have no backports suite")
    }

    fn apt_get(&self) -> Command {
        let mut command = self.tool("apt-get");
        command.args(["-q", "-y"]);
        command
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = host::command(program);
        command.arg("-c").arg(&self.conf);
        command
    }
}

/// The text of the root's apt.conf(5), read after the host's own, whose proxies and the like stay.
fn configuration(root: &Path, architectures: &[&str]) -> String {
    let root = root.display();
    let native = architectures.first().unwrap_or(&"amd64");
    let architectures: String = architectures
        .iter()
        .map(|arch| format!("\"{arch}\"; "))
        .collect();
    format!(
        r##"// Written by `cargo xtask`.
#clear APT::Architectures;
APT::Architecture "{native}";
APT::Architectures {{ {architectures}}};
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
Dir::Etc::sourcelist "{root}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
// The `_apt` user need not be able to enter the cache folder.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "2";
Acquire::Languages "none";
// The host's hooks and extra indices serve the host.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::CNF;
#clear Acquire::IndexTargets::deb::Contents-deb;
"##
    )
}

/// The content of the file of package `deb` whose path matches `pattern` (a glob of `tar`, from `./`).
pub fn file_of(deb: &Path, pattern: &str) -> Result<Vec<u8>> {
    let mut archive = host::command("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let input = archive.stdout.take().context("dpkg-deb has no output")?;
    let bytes = host::output(
        host::command("tar")
            .args([
                "--extract",
                "--to-stdout",
                "--wildcards",
                "--file=-",
                pattern,
            ])
            .stdin(input),
    );
    let status = archive.wait()?;
    let bytes = bytes.with_context(|| format!("{} has no file {pattern}", deb.display()))?;
    if !status.success() || bytes.is_empty() {
        bail!(
            "{} cannot be unpacked: damaged? remove it and try again",
            deb.display()
        );
    }
    Ok(bytes)
}

/// Unpacks the whole package `deb` into `dir`.
pub fn unpack(deb: &Path, dir: &Path) -> Result<()> {
    host::make_dir(dir)?;
    host::run(host::command("dpkg-deb").arg("-x").arg(deb).arg(dir))
}

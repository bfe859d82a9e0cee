//! The host's Debian sources, read from its own apt configuration, so that no mirror is named in this repository.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One `deb` source of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    /// The value of `Signed-By`, possibly a key of several lines.
    signed_by: Option<String>,
}

/// The keyring of Debian's own archive keys (package debian-archive-keyring).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The deb822 text for the private root: the host's sources of its own Debian release, component `main`, and the
/// release's backports when the host does not list them. `FERRY_DEBIAN_MIRROR` (and `FERRY_DEBIAN_SUITE`) replace the lot.
pub fn debian_sources() -> Result<String> {
    Ok(write_sources(&sources()?))
}

/// The mirror of the host's sources that has whole releases, for programs that make a system of their own.
pub fn mirror() -> Result<String> {
    let whole = |source: &&Source| {
        source
            .suites
            .iter()
            .any(|suite| !suite.contains(['-', '/']))
    };
    let sources = sources()?;
    let found = sources.iter().find(whole).or(sources.first());
    match found.and_then(|source| source.uris.first()) {
        Some(mirror) => Ok(mirror.clone()),
        None => bail!("the apt sources name no mirror: set FERRY_DEBIAN_MIRROR to one"),
    }
}

fn sources() -> Result<Vec<Source>> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = os_release(&release, "VERSION_CODENAME");
    if let Ok(mirror) = std::env::var("FERRY_DEBIAN_MIRROR") {
        let suite = std::env::var("FERRY_DEBIAN_SUITE").unwrap_or_else(|_| "bookworm".to_owned());
        let signed_by = Path::new(KEYRING).exists().then(|| KEYRING.to_owned());
        return Ok(vec![Source {
            uris: vec![mirror],
            suites: vec![suite],
            signed_by,
        }]);
    }
    let Some(codename) = codename else {
        bail!("/etc/os-release names no release: set FERRY_DEBIAN_MIRROR to a Debian mirror");
    };
    let mut found = Vec::new();
    for file in source_files() {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let deb822 = file.extension().is_some_and(|ext| ext == "sources");
        found.extend(if deb822 {
            parse_deb822(&text)
        } else {
            parse_lines(&text)
        });
    }
    let sources = select(found, &codename);
    if sources.is_empty() {
        bail!(
            "no apt source of this host has the release {codename}: set FERRY_DEBIAN_MIRROR to a Debian mirror"
        );
    }
    Ok(sources)
}

fn source_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<PathBuf> = dir.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    files.retain(|file| {
        file.extension()
            .is_some_and(|ext| ext == "list" || ext == "sources")
    });
    files
}

/// The value of `key` in the text of an os-release file.
fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// Keeps what serves the release `codename` (with its -updates, -security and -backports), and adds the backports.
fn select(found: Vec<Source>, codename: &str) -> Vec<Source> {
    let of_release = |suite: &String| {
        suite.strip_prefix(codename).is_some_and(|rest| {
            let rest = rest.trim_start_matches('/');
            rest.is_empty() || rest.starts_with('-') || rest == "updates"
        })
    };
    let mut kept: Vec<Source> = found;
    for source in &mut kept {
        source.suites.retain(of_release);
    }
    kept.retain(|source| !source.suites.is_empty());
    let backports = format!("{codename}-backports");
    if !kept.iter().any(|source| source.suites.contains(&backports)) {
        let main = kept
            .iter()
            .find(|source| source.suites.iter().any(|suite| suite == codename))
            .cloned();
        kept.extend(main.map(|source| Source {
            suites: vec![backports],
            ..source
        }));
    }
    kept
}

fn write_sources(sources: &[Source]) -> String {
    let mut text = String::from("# Written by `cargo xtask` from the host's own apt sources.\n");
    for source in sources {
        let _ = write!(
            text,
            "\nTypes: deb\nURIs: {}\nSuites: {}\nComponents: main\n",
            source.uris.join(" "),
            source.suites.join(" ")
        );
        if let Some(keys) = &source.signed_by {
            let _ = writeln!(text, "Signed-By: {keys}");
        }
    }
    text
}

/// `/etc/apt/sources.list.d/*.sources`: stanzas of fields, sources.list(5).
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(source_of_stanza(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn source_of_stanza(stanza: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| {
        stanza
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let words = |name: &str| -> Vec<String> {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let enabled = field("enabled").is_none_or(|value| value != "no");
    let usable = enabled
        && words("types").iter().any(|kind| kind == "deb")
        && words("components").iter().any(|c| c == "main");
    usable.then(|| Source {
        uris: words("uris"),
        suites: words("suites"),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

/// `/etc/apt/sources.list`: `deb [option=value ...] URI suite component...`, sources.list(5).
fn parse_lines(text: &str) -> Vec<Source> {
    text.lines().filter_map(source_of_line).collect()
}

fn source_of_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.any(|component| component == "main").then(|| Source {
        uris: vec![uri.to_owned()],
        suites: vec![suite.to_owned()],
        signed_by: options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(|keys| keys.replace(',', " ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_only_the_release_kept() {
        let deb822 = "Types: deb\n# a comment\nURIs: mirror:/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\n\
                      Signed-By: /keys.gpg\n\nTypes: deb-src\nURIs: mirror:/src\nSuites: bookworm\nComponents: main\n\n\
                      Enabled: no\nTypes: deb\nURIs: mirror:/off\nSuites: bookworm\nComponents: main\n";
        let lines = "deb [arch=amd64 signed-by=/a.gpg,/b.gpg] mirror:/sec bookworm-security main # why\n\
                     deb mirror:/other nodistro main\ndeb-src mirror:/s bookworm main\n# deb mirror:/x bookworm main\n";
        let mut found = parse_deb822(deb822);
        found.extend(parse_lines(lines));
        let text = write_sources(&select(found, "bookworm"));
        assert_eq!(
            text.split_once("\n\n").expect("a head").1,
            "Types: deb\nURIs: mirror:/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys.gpg\n\n\
             Types: deb\nURIs: mirror:/sec\nSuites: bookworm-security\nComponents: main\nSigned-By: /a.gpg /b.gpg\n\n\
             Types: deb\nURIs: mirror:/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /keys.gpg\n"
        );
    }

    #[test]
    fn a_key_of_several_lines_stays_whole() {
        let text = "Types: deb\nURIs: m:/\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let found = parse_deb822(text);
        assert_eq!(
            found[0].signed_by.as_deref(),
            Some("\n -----BEGIN\n .\n abc")
        );
    }

    #[test]
    fn os_release_values_lose_their_quotes() {
        let text = "NAME=\"Debian\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(
            os_release(text, "VERSION_CODENAME").as_deref(),
            Some("bookworm")
        );
        assert_eq!(os_release(text, "NAME").as_deref(), Some("Debian"));
    }
}

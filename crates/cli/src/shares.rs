//! `--share`: from what is typed to shared folders.

use crate::config::{Refusal, refuse};
use crate::drives::split;
use machine::ShareAccess;
use machine::shares::{Folder, LIMIT, TAG_LIMIT};

/// What follows the folder, for messages.
const KEYS: &str = "readonly, readonly=on, readonly=off and tag=";

fn bad(reason: String) -> Refusal {
    refuse("--share", reason)
}

/// All folders, in the order of the command line.
pub fn folders(texts: &[String]) -> Result<Vec<Folder>, Refusal> {
    if texts.len() > LIMIT {
        let count = texts.len();
        return Err(bad(format!("{count} folders; accepted are {LIMIT}")));
    }
    let mut all: Vec<Folder> = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let folder = parse(text, n)?;
        if all.iter().any(|f| f.tag == folder.tag) {
            let tag = folder.tag;
            let reason = format!("two folders have the tag '{tag}'; accepted is tag= with another");
            return Err(bad(reason));
        }
        all.push(folder);
    }
    Ok(all)
}

fn parse(text: &str, n: usize) -> Result<Folder, Refusal> {
    let mut parts = split(text).into_iter();
    let path = parts.next().unwrap_or_default();
    if path.is_empty() {
        return Err(bad(format!(
            "'{text}' names no folder; accepted is FOLDER, and behind it {KEYS} separated by commas"
        )));
    }
    let mut access = ShareAccess::ReadWrite;
    let mut tag = match n {
        0 => "share".to_owned(),
        n => format!("share{n}"),
    };
    for part in parts {
        match part.split_once('=').unwrap_or((&part, "on")) {
            ("readonly", "on") => access = ShareAccess::ReadOnly,
            ("readonly", "off") => access = ShareAccess::ReadWrite,
            ("tag", name) if part.contains('=') => {
                if name.is_empty() || name.len() > TAG_LIMIT {
                    return Err(bad(format!(
                        "tag='{name}'; accepted are 1 to {TAG_LIMIT} bytes"
                    )));
                }
                tag = name.to_owned();
            }
            _ => return Err(bad(format!("unknown '{part}'; accepted are {KEYS}"))),
        }
    }
    Ok(Folder {
        path: path.into(),
        access,
        tag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(texts: &[&str]) -> Result<Vec<Folder>, String> {
        let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
        folders(&texts).map_err(|e| e.to_string())
    }

    #[test]
    fn folders_have_tags_and_rights() {
        let all = typed(&[
            "a,,b",
            "c,readonly",
            "d,tag=src,readonly=on",
            "e,readonly=off",
        ])
        .unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|f| {
                (
                    f.path.to_str().unwrap(),
                    f.tag.as_str(),
                    f.access == ShareAccess::ReadOnly,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("a,b", "share", false),
                ("c", "share1", true),
                ("d", "src", true),
                ("e", "share3", false)
            ]
        );
    }

    #[test]
    fn refusals_say_what_would_do() {
        for (texts, wants) in [
            (&["a,tag"][..], "unknown 'tag'; accepted are readonly"),
            (&["a,readonly=maybe"], "unknown 'readonly=maybe'"),
            (&["a,tag="], "accepted are 1 to 31 bytes"),
            (&[",readonly"], "names no folder"),
            (&["a", "b,tag=share"], "two folders have the tag 'share'"),
            (&["a", "b", "c", "d", "e"], "5 folders; accepted are 4"),
        ] {
            let refused = typed(texts).unwrap_err();
            assert!(
                refused.starts_with("--share: ") && refused.contains(wants),
                "{refused}"
            );
        }
    }
}

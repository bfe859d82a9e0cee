//! A machine in a file: TOML whose keys are the options of `ferry run` without their dashes, and the other way round.
//!
//! The file becomes arguments, which stand before those of the command line: what is typed wins, and adds to what may be given several
//! times. So a file can say what the options can, and nothing else; [`dump`] writes one from the options of a run.

use crate::args::{Cli, Run};
use crate::config::{Refusal, refuse};
use clap::{ArgAction, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;
use toml::{Table, Value};

/// What a file cannot say.
const NOT_IN_FILES: [&str; 4] = ["machine", "dump-config", "help", "version"];

/// Options whose value is a list `MAIN,KEY=VALUE...`, as a table with the main part under this key.
const TABLES: [(&str, &str); 5] = [
    ("disk", "file"),
    ("cdrom", "file"),
    ("floppy", "file"),
    ("net", "network"),
    ("share", "folder"),
];

/// The command line once more, with what its machine file says before the rest.
pub fn merge(argv: Vec<OsString>, file: &Path) -> anyhow::Result<Cli> {
    let mut words = argv.into_iter();
    // The program, and `run`, which stands first: there are no options before it.
    let mut all: Vec<OsString> = words.by_ref().take(2).collect();
    all.extend(arguments(file)?);
    all.extend(words);
    let command = Cli::command().mut_subcommand("run", |run| run.args_override_self(true));
    let matches = command.get_matches_from(all);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit()))
}

/// The options in a file, as they would be typed.
fn arguments(path: &Path) -> Result<Vec<OsString>, Refusal> {
    let bad = |reason: String| refuse("machine file", format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| {
        bad(format!(
            "{e}; accepted is a TOML file such as --dump-config prints"
        ))
    })?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e
            .span()
            .map_or(1, |s| text[..s.start].lines().count().max(1));
        bad(format!(
            "line {line}: {}; accepted is TOML such as --dump-config prints",
            e.message()
        ))
    })?;
    let command = Cli::command();
    let known = command
        .find_subcommand("run")
        .map(|run| run.get_arguments());
    let known: Vec<(&str, &ArgAction)> = known
        .into_iter()
        .flatten()
        .filter_map(|a| Some((a.get_long()?, a.get_action())))
        .filter(|a| !NOT_IN_FILES.contains(&a.0))
        .collect();
    let mut all = Vec::new();
    for (key, value) in &table {
        let Some((_, action)) = known.iter().find(|k| k.0 == key) else {
            let mut names: Vec<&str> = known.iter().map(|k| k.0).collect();
            names.sort_unstable();
            return Err(bad(format!(
                "unknown key '{key}'; accepted are {}",
                names.join(", ")
            )));
        };
        let several = matches!(action, ArgAction::Append);
        let values = match value {
            Value::Array(values) if several => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = match (value, action) {
                // A switch, or an option that stands without a value.
                (Value::Boolean(true), _) => format!("--{key}"),
                (Value::Boolean(false), _) => continue,
                (_, ArgAction::SetTrue) => {
                    return Err(bad(format!("key '{key}': accepted is true or false")));
                }
                (value, _) => {
                    let value = option_value(key, value)
                        .map_err(|reason| bad(format!("key '{key}': {reason}")))?;
                    format!("--{key}={value}")
                }
            };
            all.push(text.into());
        }
    }
    Ok(all)
}

/// A value as it is typed behind the option.
fn option_value(key: &str, value: &Value) -> Result<String, String> {
    let table = match value {
        Value::Table(table) => table,
        other => return scalar(other),
    };
    let Some((_, main)) = TABLES.iter().find(|t| t.0 == key) else {
        return Err("a table is not accepted here; a string is".into());
    };
    let Some(first) = table.get(*main) else {
        return Err(format!("the table wants a value for '{main}'"));
    };
    // A comma in a file's name is typed twice.
    let mut text = scalar(first)?.replace(',', ",,");
    for (name, value) in table.iter().filter(|(name, _)| name != main) {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let value = match value {
                Value::Boolean(true) => "on".into(),
                Value::Boolean(false) => "off".into(),
                other => scalar(other).map_err(|reason| format!("'{name}': {reason}"))?,
            };
            text.push_str(&format!(",{name}={value}"));
        }
    }
    Ok(text)
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(s) => Ok(s.clone()),
        Value::Integer(n) => Ok(n.to_string()),
        other => Err(format!(
            "{} is not accepted here; a string is",
            match other.type_str() {
                "array" => "more than one value",
                "table" => "a table",
                _ => "a value of this type",
            }
        )),
    }
}

/// The options as a machine file, without those that are off.
pub fn dump(run: &Run) -> anyhow::Result<String> {
    let mut table = Table::try_from(run).map_err(|e| {
        refuse(
            "--dump-config",
            format!("{e}; accepted are options in UTF-8, which TOML is"),
        )
    })?;
    table.retain(|_, value| match value {
        Value::Boolean(on) => *on,
        Value::Array(values) => !values.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    Ok(toml::to_string_pretty(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use clap::Parser;

    fn typed(args: &[String]) -> Run {
        let words = ["ferry", "run"].iter().map(|s| (*s).to_owned());
        match Cli::try_parse_from(words.chain(args.iter().cloned()))
            .unwrap()
            .command
        {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn in_file(text: &str, more: &[&str]) -> anyhow::Result<Run> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        let argv = ["ferry", "run"]
            .iter()
            .chain(more)
            .map(Into::into)
            .collect();
        match merge(argv, file.path())?.command {
            Command::Run(run) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    /// Every option that a file may have, with a value that is hard to write down.
    fn samples() -> Vec<(String, String)> {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        run.get_arguments()
            .filter_map(|a| Some((a.get_long()?, a)))
            .filter(|(name, _)| !NOT_IN_FILES.contains(name))
            .map(|(name, a)| {
                let value = match (name, a.get_action()) {
                    (_, ArgAction::SetTrue) => String::new(),
                    ("boot-menu", _) => "=7000".into(),
                    ("jit-threads" | "tier-threshold", _) => "=7".into(),
                    _ => "=a,,b=\"c\" 'd' # \\e\n--f=ü".into(),
                };
                (name.to_owned(), format!("--{name}{value}"))
            })
            .collect()
    }

    #[test]
    fn every_option_and_every_pair_comes_back() {
        let samples = samples();
        assert!(samples.len() > 30);
        let check = |args: &[String], names: &[&str]| {
            let run = typed(args);
            let text = dump(&run).unwrap();
            let again = in_file(&text, &[]).unwrap();
            assert_eq!(run, again, "{text}");
            let table: Table = text.parse().unwrap();
            for name in names {
                assert!(table.contains_key(*name), "{name} is missing in\n{text}");
            }
        };
        let all: Vec<String> = samples.iter().map(|s| s.1.clone()).collect();
        let names: Vec<&str> = samples.iter().map(|s| s.0.as_str()).collect();
        check(&[], &["memory", "cpu", "cpus"]);
        check(&all, &names);
        for (n, a) in samples.iter().enumerate() {
            check(std::slice::from_ref(&a.1), &[&a.0]);
            for b in &samples[..n] {
                check(&[a.1.clone(), b.1.clone()], &[&a.0, &b.0]);
            }
        }
        let twice = ["--disk=a", "--disk=b,if=ide"].map(str::to_owned);
        check(&twice, &["disk"]);
    }

    #[test]
    fn tables_are_lists_and_the_command_line_wins() {
        let text = "memory = '1G'\nno-reboot = true\nverify = false\nboot-menu = true\n\
            [[disk]]\nfile = 'a,b.img'\nif = 'ide'\nsnapshot = true\n[[disk]]\nfile = 'c'\n\
            [[net]]\nnetwork = 'user'\nhostfwd = ['tcp::1-:2', 'tcp::3-:4']\n";
        let run = in_file(text, &["--memory", "2G", "--disk", "d"]).unwrap();
        assert_eq!(run.memory, "2G");
        assert!(run.no_reboot && !run.verify);
        assert_eq!(run.firmware.boot_menu, Some(5000));
        assert_eq!(run.disk, ["a,,b.img,if=ide,snapshot=on", "c", "d"]);
        assert_eq!(run.net, ["user,hostfwd=tcp::1-:2,hostfwd=tcp::3-:4"]);
    }

    #[test]
    fn refusals_name_the_key() {
        let refused = |text: &str| in_file(text, &[]).unwrap_err().to_string();
        for (text, wants) in [
            ("memry = '1G'", "unknown key 'memry'; accepted are append, "),
            ("dump-config = true", "unknown key 'dump-config'"),
            ("verify = 'yes'", "key 'verify': accepted is true or false"),
            ("memory = ['1G', '2G']", "key 'memory': more than one value"),
            (
                "memory = {file = 'x'}",
                "key 'memory': a table is not accepted here",
            ),
            (
                "disk = [{if = 'ide'}]",
                "key 'disk': the table wants a value for 'file'",
            ),
            (
                "disk = [{file = 'a', if = 1.5}]",
                "key 'disk': 'if': a value of this type",
            ),
            ("cpu = 'a'\nmemory =", "line 2: "),
        ] {
            assert!(refused(text).contains(wants), "{}", refused(text));
        }
    }
}

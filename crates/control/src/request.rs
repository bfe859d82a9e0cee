//! What can be asked, as lines of JSON and as words of a command line.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    Pause,
    Resume,
    Reset,
    Power,
    Quit,
    Screenshot,
    Text,
    SendKey {
        keys: String,
    },
    TypeText {
        text: String,
    },
    MoveMouse {
        dx: i32,
        dy: i32,
        #[serde(default)]
        buttons: u8,
    },
    Insert {
        drive: String,
        file: PathBuf,
    },
    Eject {
        drive: String,
    },
    Info {
        what: Topic,
    },
}

/// What `info` tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    Registers,
    Devices,
    Pci,
    Block,
    Stats,
}

impl Topic {
    pub const NAMES: [(&'static str, Self); 5] = [
        ("registers", Self::Registers),
        ("devices", Self::Devices),
        ("pci", Self::Pci),
        ("block", Self::Block),
        ("stats", Self::Stats),
    ];
}

/// The commands as a command line has them: words and what they do.
pub const COMMANDS: &[(&str, &str)] = &[
    ("status", "tell whether the machine runs or is paused"),
    ("pause", "stop the guest and its time"),
    ("resume", "let it go on"),
    ("reset", "press the reset button"),
    (
        "power",
        "press the power button (ACPI): the guest shuts down if it listens",
    ),
    (
        "quit",
        "end the machine at once, as if its plug were pulled",
    ),
    (
        "screenshot FILE",
        "write a picture of the screen as PNG; - is standard output",
    ),
    ("text", "print the characters of a text mode"),
    (
        "send-key KEYS",
        "press keys together and release them: ctrl-alt-delete, f2, a",
    ),
    (
        "type-text TEXT",
        "type on a US keyboard; \\n is the Enter key",
    ),
    (
        "move-mouse DX DY [BUTTONS]",
        "move right and down; buttons 1 left, 2 right, 4 middle, added",
    ),
    (
        "insert DRIVE FILE",
        "put an image into a drive such as cdrom0 or floppy0",
    ),
    ("eject DRIVE", "take it out"),
    (
        "info TOPIC",
        "tell about registers, devices, pci, block or stats",
    ),
];

/// A line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Reads a line: its `id`, if it has one, and the request, or what is wrong with it.
pub fn parse(line: &[u8]) -> (Option<u64>, Result<Request, String>) {
    let line: Line = match serde_json::from_slice(line) {
        Ok(l) => l,
        Err(e) => return (None, Err(format!("not a JSON object in one line: {e}"))),
    };
    let request = serde_json::from_value(line.rest.into()).map_err(|e| e.to_string());
    (line.id, request)
}

/// Reads the words of a command line. A path is taken as seen from here.
pub fn from_words(words: &[String]) -> Result<Request, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let usage = |name: &str| {
        let known = COMMANDS
            .iter()
            .find(|c| c.0.split(' ').next() == Some(name));
        match known {
            Some((form, _)) => format!("accepted is {form}"),
            None => format!(
                "unknown command '{name}'; accepted are {}",
                COMMANDS.iter().map(|c| c.0).collect::<Vec<_>>().join(", ")
            ),
        }
    };
    let number = |text: &str| {
        text.parse::<i32>()
            .map_err(|_| format!("'{text}' is no number; {}", usage("move-mouse")))
    };
    Ok(match words[..] {
        ["status"] => Request::Status,
        ["pause"] => Request::Pause,
        ["resume"] => Request::Resume,
        ["reset"] => Request::Reset,
        ["power"] => Request::Power,
        ["quit"] => Request::Quit,
        ["screenshot", _] => Request::Screenshot,
        ["text"] => Request::Text,
        ["send-key", keys] => Request::SendKey { keys: keys.into() },
        ["type-text", text] => Request::TypeText {
            text: text.replace("\\n", "\n"),
        },
        ["move-mouse", dx, dy] => Request::MoveMouse {
            dx: number(dx)?,
            dy: number(dy)?,
            buttons: 0,
        },
        ["move-mouse", dx, dy, buttons] => Request::MoveMouse {
            dx: number(dx)?,
            dy: number(dy)?,
            buttons: number(buttons)?.clamp(0, 7) as u8,
        },
        ["insert", drive, file] => Request::Insert {
            drive: drive.into(),
            file: std::path::absolute(file).map_err(|e| format!("{file}: {e}"))?,
        },
        ["eject", drive] => Request::Eject {
            drive: drive.into(),
        },
        ["info", ref topic @ ..] => {
            let names = Topic::NAMES.map(|t| t.0).join(", ");
            let [topic] = topic else {
                return Err(format!("info wants one topic; accepted are {names}"));
            };
            let known = Topic::NAMES.iter().find(|t| t.0 == *topic);
            let what = known.ok_or(format!("unknown topic '{topic}'; accepted are {names}"))?;
            Request::Info { what: what.1 }
        }
        [] => return Err(usage("")),
        [name, ..] => return Err(usage(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Request, String> {
        let words: Vec<String> = text.split(' ').map(String::from).collect();
        from_words(&words)
    }

    #[test]
    fn lines() {
        let ok = |line: &str| parse(line.as_bytes());
        assert_eq!(
            ok(r#"{"command":"pause","id":7}"#),
            (Some(7), Ok(Request::Pause))
        );
        assert_eq!(
            ok(r#"{"command":"send-key","keys":"f1"}"#).1,
            Ok(Request::SendKey { keys: "f1".into() })
        );
        assert_eq!(
            ok(r#"{"command":"info","what":"pci"}"#).1,
            Ok(Request::Info { what: Topic::Pci })
        );
        for (bad, why) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{\"command\":\"pause\"", "not a JSON object"),
            ("{}", "missing field `command`"),
            (r#"{"command":"dance"}"#, "unknown variant `dance`"),
            (r#"{"command":"eject"}"#, "missing field `drive`"),
            (
                r#"{"command":"eject","drive":"a","force":1}"#,
                "unknown field",
            ),
            (
                r#"{"id":3,"command":"info","what":"all"}"#,
                "unknown variant",
            ),
        ] {
            let got = parse(bad.as_bytes()).1.unwrap_err();
            assert!(got.contains(why), "{bad}: {got}");
        }
    }

    #[test]
    fn every_command_of_the_list_can_be_typed() {
        for (form, _) in COMMANDS {
            let typed = form.replace(" [BUTTONS]", "").replace("DX DY", "1 -2");
            let typed = typed.replace("TOPIC", "stats");
            assert!(words(&typed).is_ok(), "{typed}");
        }
        assert_eq!(
            words("type-text a\\n"),
            Ok(Request::TypeText { text: "a\n".into() })
        );
        assert!(
            words("insert cdrom0")
                .unwrap_err()
                .contains("accepted is insert DRIVE FILE")
        );
        assert!(
            words("dance")
                .unwrap_err()
                .contains("accepted are status, pause")
        );
        assert!(
            words("info x")
                .unwrap_err()
                .contains("accepted are registers")
        );
        for wrong in ["info", "info pci block"] {
            assert_eq!(
                words(wrong).unwrap_err(),
                "info wants one topic; accepted are registers, devices, pci, block, stats"
            );
        }
    }
}

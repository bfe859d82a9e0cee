//! `ferry ctl`: one command to a socket, and its answer.

use crate::base64;
use crate::request::Request;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {socket} (accepted is the socket of ferry run --control unix:PATH)")]
    Connect { socket: String, source: io::Error },
    #[error("the machine ended before it answered")]
    Ended,
    #[error("the answer makes no sense")]
    Answer,
    /// The machine's own words.
    #[error("{0}")]
    Refused(String),
    #[error("the connection to the machine broke")]
    Io(#[from] io::Error),
}

/// Asks the machine at `socket`.
pub fn ask(socket: &Path, request: &Request) -> Result<Value, Error> {
    let mut stream = UnixStream::connect(socket).map_err(|source| Error::Connect {
        socket: socket.display().to_string(),
        source,
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let line = serde_json::to_string(request).map_err(|_| Error::Answer)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        // What ends a machine may end it before it answers.
        return match request {
            Request::Quit | Request::Reset => Ok(Value::Null),
            _ => Err(Error::Ended),
        };
    }
    let mut answer: Value = serde_json::from_str(&answer).map_err(|_| Error::Answer)?;
    match answer["ok"].as_bool() {
        Some(true) => Ok(answer["result"].take()),
        _ => Err(Error::Refused(
            answer["error"].as_str().unwrap_or("").to_string(),
        )),
    }
}

/// The picture in the answer to a screenshot.
pub fn picture(answer: &Value) -> Result<Vec<u8>, Error> {
    let png = answer["png"].as_str().and_then(base64::decode);
    png.ok_or(Error::Answer)
}

/// An answer for people: text as it is, nothing for nothing, the rest as JSON.
pub fn shown(answer: &Value) -> String {
    match answer {
        Value::Null => String::new(),
        Value::String(s) => format!("{s}\n"),
        Value::Object(o) if o.contains_key("text") => {
            format!("{}\n", o["text"].as_str().unwrap_or(""))
        }
        Value::Object(o) if o.len() == 1 && o.contains_key("state") => {
            format!("{}\n", o["state"].as_str().unwrap_or(""))
        }
        other => format!("{other:#}\n"),
    }
}

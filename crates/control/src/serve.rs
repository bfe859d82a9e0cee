//! The socket.

use crate::request;
use crate::run::Target;
use display::{Address, Error, Stream};
use machine::Machine;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub use display::Server;

/// Bytes of a line at most.
const LINE: u64 = 1 << 20;

/// Takes commands for `machine` on a socket at `path` that only its owner can open.
pub fn start(path: &Path, machine: &Machine) -> Result<Server, Error> {
    let target = Target {
        remote: machine.remote(),
        console: machine.console(),
        media: machine.media(),
        stop: machine.stopper(),
    };
    let address = Address::Unix(path.into());
    let server = Server::start("control", &address, move |stream| serve(stream, &target))?;
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner).map_err(|source| Error::Listen {
        address: address.to_string(),
        source,
    })?;
    Ok(server)
}

/// Answers line by line until the client goes or says what is no line.
fn serve(stream: Stream, target: &Target) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let whole = line.last() == Some(&b'\n');
        let (id, request) = match whole {
            true => request::parse(&line),
            false if line.len() as u64 == LINE => (None, Err("the line is too long".into())),
            false => return,
        };
        let mut answer = match request.and_then(|r| target.run(r)) {
            Ok(result) => json!({ "ok": true, "result": result }),
            Err(error) => json!({ "ok": false, "error": error }),
        };
        if let Some(id) = id {
            answer["id"] = id.into();
        }
        let sent = writer.write_all(format!("{answer}\n").as_bytes());
        if sent.is_err() || !whole {
            return;
        }
    }
}

//! Does what is asked.

use crate::request::{Request, Topic};
use crate::{base64, info};
use display::{keys, picture};
use machine::{Console, Media, Remote, ResetSource, StopReason, StopRequest};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may wait in the keyboard before more is typed.
const TYPED_AHEAD: usize = 256;
/// Between characters that are typed: a BIOS keeps no more than 15 keys that no program has read.
const KEYSTROKE: Duration = Duration::from_millis(15);
/// How long the guest may leave the keyboard unread until typing is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long keys are held.
const HELD: Duration = Duration::from_millis(50);

/// What of a machine is controlled.
#[derive(Clone)]
pub(crate) struct Target {
    pub remote: Remote,
    pub console: Console,
    pub media: Media,
    pub stop: StopRequest,
}

const ENDED: &str = "the machine has ended";
const NO_SCREEN: &str = "the machine has no display adapter (--vga std)";

impl Target {
    /// The answer, or why there is none.
    pub(crate) fn run(&self, request: Request) -> Result<Value, String> {
        match request {
            Request::Status => {
                let paused = self.ask(|m| m.is_paused())?;
                Ok(json!({ "state": if paused { "paused" } else { "running" } }))
            }
            Request::Pause => self.ask(|m| m.set_paused(true)).map(|()| Value::Null),
            Request::Resume => self.ask(|m| m.set_paused(false)).map(|()| Value::Null),
            Request::Reset => {
                self.stop.request(StopReason::Reset(ResetSource::Button));
                Ok(Value::Null)
            }
            Request::Power => {
                self.console.press_power_button();
                Ok(Value::Null)
            }
            Request::Quit => {
                self.stop.request(StopReason::User);
                Ok(Value::Null)
            }
            Request::Screenshot => {
                let frame = self.screen()?.frame();
                let png = base64::encode(&picture::png(&frame));
                Ok(json!({ "width": frame.width, "height": frame.height, "png": png }))
            }
            Request::Text => {
                let text = self.screen()?.text();
                let text = text.ok_or("the screen shows no text mode")?;
                let cursor = text.cursor.map(|(x, y)| json!({ "column": x, "row": y }));
                Ok(json!({ "text": text.text(), "cursor": cursor }))
            }
            Request::SendKey { keys } => self.send_keys(&keys),
            Request::TypeText { text } => self.type_text(&text),
            Request::MoveMouse { dx, dy, buttons } => {
                self.console
                    .input()
                    .move_mouse(dx, dy.saturating_neg(), 0, buttons);
                Ok(Value::Null)
            }
            Request::Insert { drive, file } => {
                self.media.change(&drive, Some(&file)).map(|()| Value::Null)
            }
            Request::Eject { drive } => self.media.change(&drive, None).map(|()| Value::Null),
            Request::Info { what } => self.ask(move |m| match what {
                Topic::Registers => Ok(m.registers()),
                Topic::Devices => Ok(m.devices()),
                Topic::Pci => Ok(m.pci_functions()),
                Topic::Block => Ok(info::block(m)),
                Topic::Stats => info::stats(m).map_err(|e| e.to_string()),
            })?,
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut machine::Machine) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.remote.ask(work).ok_or_else(|| ENDED.to_string())
    }

    fn screen(&self) -> Result<display::Snapshot, String> {
        Ok(self.console.screen().ok_or(NO_SCREEN)?.snapshot())
    }

    fn send_keys(&self, text: &str) -> Result<Value, String> {
        let keys = keys::of_chord(text).map_err(|bad| {
            format!(
                "'{bad}' is no key; accepted are characters and {}, joined by hyphens",
                keys::names().join(", ")
            )
        })?;
        let input = self.console.input();
        for key in &keys {
            input.press(*key);
        }
        thread::sleep(HELD);
        for key in keys.iter().rev() {
            input.release(*key);
        }
        Ok(Value::Null)
    }

    /// Types no faster than the guest reads, and than a quick typist.
    fn type_text(&self, text: &str) -> Result<Value, String> {
        let input = self.console.input();
        let mut since = Instant::now();
        for (n, c) in text.chars().enumerate() {
            while input.pending() > TYPED_AHEAD {
                if since.elapsed() > PATIENCE {
                    return Err(format!(
                        "the guest does not read its keyboard: {n} characters were typed"
                    ));
                }
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(KEYSTROKE);
            since = Instant::now();
            input.type_text(c.encode_utf8(&mut [0; 4]));
        }
        Ok(Value::Null)
    }
}

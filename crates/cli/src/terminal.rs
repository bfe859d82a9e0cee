//! The terminal in raw mode, and back on every way out.

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

/// Standard input, a terminal, as it was found. Clones are the same terminal; restoring twice does nothing.
#[derive(Clone, Debug)]
pub struct Terminal {
    saved: Arc<Mutex<Option<Termios>>>,
}

impl Terminal {
    /// Standard input, if it is a terminal: untouched so far, so that whoever may have to restore it can be ready first.
    pub fn open() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let saved = termios::tcgetattr(&stdin)?;
        Ok(Some(Self {
            saved: Arc::new(Mutex::new(Some(saved))),
        }))
    }

    /// Raw mode. A panic anywhere restores it before the message is printed; a terminal that was restored already stays as it is.
    pub fn make_raw(&self) -> io::Result<()> {
        let (of_panic, hook) = (self.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            of_panic.restore();
            hook(info);
        }));
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut raw) = saved.clone() else {
            return Ok(());
        };
        // As cfmakeraw, but output processing stays on: our own messages share the screen with the guest's.
        raw.input_modes -= InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON;
        raw.local_modes -= LocalModes::ECHO
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        Ok(termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?)
    }

    /// The terminal as it was.
    pub fn restore(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = saved.take() {
            // A terminal that is gone needs no restoring.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &old);
        }
    }
}

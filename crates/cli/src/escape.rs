//! The escape key of the terminal: what is typed is the guest's, but for Ctrl-A and the key after it.

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// What the typed bytes ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// For the guest.
    Input(Vec<u8>),
    /// Ctrl-A x.
    Quit,
    /// Ctrl-A h.
    Help,
}

/// Text of Ctrl-A h.
pub const HELP: &str = "\n\
    Ctrl-A x       quit\n\
    Ctrl-A h       this help\n\
    Ctrl-A Ctrl-A  send Ctrl-A to the guest\n";

/// Remembers a Ctrl-A between reads.
#[derive(Debug, Default)]
pub struct Escape {
    pending: bool,
}

impl Escape {
    /// Takes what was typed.
    pub fn feed(&mut self, typed: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut input = Vec::new();
        for &byte in typed {
            let special = match (std::mem::take(&mut self.pending), byte) {
                (false, ESCAPE) => {
                    self.pending = true;
                    continue;
                }
                (true, b'x' | b'X') => Event::Quit,
                (true, b'h' | b'H' | b'?') => Event::Help,
                (true, ESCAPE) | (false, _) => {
                    input.push(byte);
                    continue;
                }
                (true, _) => continue,
            };
            if !input.is_empty() {
                events.push(Event::Input(std::mem::take(&mut input)));
            }
            events.push(special);
        }
        if !input.is_empty() {
            events.push(Event::Input(input));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_after_the_escape_are_not_the_guests() {
        let mut e = Escape::default();
        let input = |b: &[u8]| Event::Input(b.to_vec());
        assert_eq!(e.feed(b"ls\r"), [input(b"ls\r")]);
        assert_eq!(
            e.feed(b"a\x01hb\x01\x01"),
            [input(b"a"), Event::Help, input(b"b\x01")]
        );
        assert_eq!(e.feed(b"\x01"), []);
        assert_eq!(e.feed(b"x"), [Event::Quit]);
        assert_eq!(e.feed(b"\x01qz"), [input(b"z")]);
    }
}

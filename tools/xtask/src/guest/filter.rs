//! Takes the output of one command out of what a guest sends over its serial port.
//!
//! The guest (`rootfs/session`, `rootfs/report`) sends a line `@@ferry-TOKEN-begin@@`, the command's output byte for
//! byte, and `@@ferry-TOKEN-end:STATUS@@`. The token is the host's, new each run, so no output can imitate the lines.

/// Passes on what lies between the two marker lines, as soon as it is known not to be a marker.
pub struct Filter {
    begin: Vec<u8>,
    end: Vec<u8>,
    state: State,
    held: Vec<u8>,
}

enum State {
    Before,
    Inside,
    /// The marker's text after the colon is being read.
    Status,
    Done(u8),
}

impl Filter {
    pub fn new(token: &str) -> Filter {
        Filter {
            begin: format!("@@ferry-{token}-begin@@").into_bytes(),
            end: format!("@@ferry-{token}-end:").into_bytes(),
            state: State::Before,
            held: Vec::new(),
        }
    }

    /// The exit status, once the end marker was read.
    pub fn status(&self) -> Option<u8> {
        match self.state {
            State::Done(status) => Some(status),
            _ => None,
        }
    }

    /// Has the command begun?
    pub fn begun(&self) -> bool {
        !matches!(self.state, State::Before)
    }

    /// Takes the next bytes from the guest and returns the command's output among them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut output = Vec::new();
        while self.step(&mut output) {}
        output
    }

    /// One change of state; `false` when more input is needed.
    fn step(&mut self, output: &mut Vec<u8>) -> bool {
        match self.state {
            State::Before => {
                // The whole line must be there, its end included (CR LF while the terminal still changes line ends).
                let Some(at) = find(&self.held, &self.begin) else {
                    self.keep_tail(self.begin.len() - 1);
                    return false;
                };
                let after = at + self.begin.len();
                let Some(line_end) = self.held[after..].iter().position(|&byte| byte == b'\n')
                else {
                    return false;
                };
                self.held.drain(..=after + line_end);
                self.state = State::Inside;
                true
            }
            State::Inside => match find(&self.held, &self.end) {
                Some(at) => {
                    output.extend(self.held.drain(..at));
                    self.held.drain(..self.end.len());
                    self.state = State::Status;
                    true
                }
                None => {
                    let keep = partial(&self.held, &self.end);
                    output.extend(self.held.drain(..self.held.len() - keep));
                    false
                }
            },
            State::Status => {
                let Some(at) = find(&self.held, b"@@") else {
                    return false;
                };
                let text = String::from_utf8_lossy(&self.held[..at]);
                self.state = State::Done(text.trim().parse().unwrap_or(255));
                true
            }
            State::Done(_) => {
                self.held.clear();
                false
            }
        }
    }

    fn keep_tail(&mut self, len: usize) {
        let drop = self.held.len().saturating_sub(len);
        self.held.drain(..drop);
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// How many bytes at the end of `text` may be the beginning of `what`.
fn partial(text: &[u8], what: &[u8]) -> usize {
    (1..what.len().min(text.len() + 1))
        .rev()
        .find(|&len| text.ends_with(&what[..len]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_out_whatever_the_pieces() {
        let text = b"noise\r\n@@ferry-7-begin@@\r\none\n@@ferry-8-end:1@@\0@@@ferry-7-end:42@@\r\nPower down\n";
        for size in 1..text.len() {
            let mut filter = Filter::new("7");
            let mut output = Vec::new();
            for piece in text.chunks(size) {
                output.extend(filter.feed(piece));
            }
            assert_eq!(output, b"one\n@@ferry-8-end:1@@\0@", "pieces of {size}");
            assert_eq!(filter.status(), Some(42));
        }
    }

    #[test]
    fn output_flows_before_the_command_ends() {
        let mut filter = Filter::new("7");
        assert_eq!(filter.feed(b"@@ferry-7-begin@@\npart @@fe"), b"part ");
        assert_eq!(filter.feed(b"w"), b"@@few");
        assert!(filter.begun() && filter.status().is_none());
    }
}

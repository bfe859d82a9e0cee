//! From an input to accesses: to the device's registers, to the memory that it is pointed at, to its configuration space, to the clock,
//! to its power supply, and whatever else its row says.

use crate::input::Input;
use crate::target::{Region, Target};
use bus::AccessSize;

/// Accesses that one input may make: it is there to find a state, not to be long.
const MOST_STEPS: usize = 600;

/// Answers that are told apart.
const BITS: usize = 1 << 22;

/// What a run showed, as bits of a hash: inputs that set new ones are worth keeping.
#[derive(Clone)]
pub struct Seen {
    bits: Vec<u64>,
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            bits: vec![0; BITS / 64],
            count: 0,
        }
    }
}

impl Seen {
    /// Takes note; tells whether it is new.
    pub fn note(&mut self, what: u64) -> bool {
        let hash = (what.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) % BITS as u64;
        let word = &mut self.bits[(hash / 64) as usize];
        let new = *word >> (hash % 64) & 1 == 0;
        *word |= 1 << (hash % 64);
        self.count += usize::from(new);
        new
    }
    /// How much was seen.
    pub fn count(&self) -> usize {
        self.count
    }
}

struct Driver<'t> {
    target: &'t mut Target,
    regions: Vec<Region>,
    seen: &'t mut Seen,
    /// What happened last: a pair of answers in a row is more than two answers.
    last: u64,
    messages: u64,
    new: bool,
}

/// Runs an input on a fresh target; tells whether it showed something new.
pub fn run(target: &mut Target, bytes: &[u8], seen: &mut Seen) -> bool {
    target.place();
    let regions = target.regions();
    let mut driver = Driver {
        target,
        regions,
        seen,
        last: 0,
        messages: 0,
        new: false,
    };
    let mut input = Input::new(bytes);
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        driver.step(&mut input);
    }
    driver.target.settle();
    driver.look();
    driver.new
}

impl Driver<'_> {
    fn step(&mut self, input: &mut Input) {
        match input.byte() % 16 {
            0..3 => self.write(input),
            3..6 => self.read(input),
            6 => self.burst(input),
            7 => {
                let (at, n) = (input.address(), 1 + input.below(96) as usize);
                self.target.world.set_ram(at, input.take(n));
            }
            8 => {
                let (at, size, value) = (input.address(), input.size(), input.value());
                let bytes = value.to_le_bytes();
                let bytes = &bytes[..size.bytes() as usize];
                self.target.world.set_ram(at, bytes);
            }
            9 => {
                let span = u64::from(input.word()) << (input.byte() % 32);
                self.target.world.advance(span);
            }
            10 => self.configuration(input),
            11 => self.rare(input),
            _ => self.act(input),
        }
        self.look();
    }

    fn act(&mut self, input: &mut Input) {
        let Target { world, actions, .. } = &mut *self.target;
        match actions.len() as u64 {
            0 => self.write(input),
            n => {
                let n = input.below(n);
                actions[n as usize](world, input);
                let answers = self.target.world.take_answers();
                self.note(answers << 16 ^ (0xac00 | n));
            }
        }
    }

    /// An access that the device decodes; where there is nothing, nothing.
    fn place(&self, input: &mut Input) -> Option<(usize, u64, AccessSize)> {
        let n = input.below(self.regions.len().max(1) as u64) as usize;
        let (Region::Ports(range) | Region::Memory(range)) = self.regions.get(n)?;
        let bytes = range.end() - range.start() + 1;
        let within = match bytes {
            0..=0x100 => input.below(bytes),
            // What stands near the beginning matters most in larger ones.
            _ if input.flip() => input.below(0x100),
            _ => input.below(bytes),
        };
        Some((n, range.start() + within, input.size()))
    }

    fn store(&mut self, n: usize, at: u64, size: AccessSize, value: u64) {
        let world = &self.target.world;
        match self.regions[n] {
            Region::Ports(_) => world.out(at as u16, narrow(size), value as u32),
            Region::Memory(_) => world.store(at, size, value),
        }
        self.note(at << 8 | size as u64);
    }

    fn load(&mut self, n: usize, at: u64, size: AccessSize) {
        let world = &self.target.world;
        let value = match self.regions[n] {
            Region::Ports(_) => world.get(at as u16, narrow(size)).into(),
            Region::Memory(_) => world.load(at, size),
        };
        world.take_answers();
        let bucket = value & 0xff | u64::from(value.leading_zeros()) << 8;
        self.note(at << 24 | bucket << 4 | size as u64);
    }

    fn write(&mut self, input: &mut Input) {
        if let Some((n, at, size)) = self.place(input) {
            self.store(n, at, size, input.value());
        }
    }

    fn read(&mut self, input: &mut Input) {
        if let Some((n, at, size)) = self.place(input) {
            self.load(n, at, size);
        }
    }

    /// The same place again and again: what fills and empties FIFOs.
    fn burst(&mut self, input: &mut Input) {
        let Some((n, at, size)) = self.place(input) else {
            return;
        };
        let (times, write) = (input.byte(), input.flip());
        for _ in 0..times {
            match write {
                true => self.store(n, at, size, input.byte().into()),
                false => self.load(n, at, size),
            }
        }
    }

    /// The configuration space: where registers are and what they may do is seldom changed, since little is reached afterwards.
    fn configuration(&mut self, input: &mut Input) {
        let Some(at) = self.target.function(input) else {
            return;
        };
        let size = narrow(input.size());
        let offset = input.byte() & !(size.bytes() as u8 - 1);
        if input.flip() {
            let value = self.target.world.pci.config_read(at, offset, size);
            self.note(0xc0_0000 | u64::from(offset) << 8 | u64::from(value & 0xff));
        } else if !matches!(offset, 4..6 | 0x10..0x28) || input.rarely(8) {
            let value = input.value() as u32;
            self.target.world.pci.config_write(at, offset, size, value);
            self.regions = self.target.regions();
        }
    }

    fn rare(&mut self, input: &mut Input) {
        match input.byte() % 8 {
            0 => {
                self.target.world.bus.reset();
                self.replace();
            }
            1 => {
                let bus = &self.target.world.bus;
                let saved = bus.save().expect("a state can always be saved");
                bus.restore(&saved).expect("what was saved can be restored");
            }
            2 | 3 => self.replace(),
            _ => self.target.settle(),
        }
    }

    fn replace(&mut self) {
        self.target.place();
        self.regions = self.target.regions();
    }

    fn note(&mut self, what: u64) {
        self.new |= self.seen.note(what.rotate_left(17) ^ self.last);
        self.last = what;
    }

    fn look(&mut self) {
        let messages = self.target.world.messages();
        if messages != self.messages {
            self.messages = messages;
            self.note(0xe0_0000 | messages & 0xff);
        }
    }
}

/// Ports are at most 32 bits wide.
fn narrow(size: AccessSize) -> AccessSize {
    size.min(AccessSize::Dword)
}

//! A serial EEPROM with Microwire bus: 93C46 (Microchip 93C46, 64 words of 16 bits), as network cards keep their addresses in.
//!
//! A start bit, two bits of instruction, six of address, each taken with a rising clock while the chip is selected; a READ's data follow,
//! one bit a clock, and those of the next addresses behind them.
//!
//! Absent: writing. The chip is as if its write enable had never been given (EWDS).

use serde::{Deserialize, Serialize};

/// Words of the chip.
pub(crate) const WORDS: usize = 64;
const ADDRESS_BITS: u8 = 6;
const START_AND_INSTRUCTION: u8 = 3;
const READ: u16 = 0b110;

/// The levels of the pins that the host drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    pub select: bool,
    pub clock: bool,
    pub data: bool,
}

/// Where the chip is in an instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Microwire {
    pins: Pins,
    /// The bits that came since the start bit, it included.
    instruction: u16,
    bits: u8,
    /// What a READ sends: the address, and the bit within the word.
    sends: Option<(u8, u8)>,
    output: bool,
}

impl Microwire {
    /// The host drives the pins.
    pub fn drive(&mut self, pins: Pins, words: &[u16; WORDS]) {
        let rises = pins.clock && !self.pins.clock;
        self.pins = pins;
        if !pins.select {
            *self = Self {
                pins,
                // Not driven: pulled up.
                output: true,
                ..Self::default()
            };
        } else if rises {
            self.clock(words);
        }
    }

    fn clock(&mut self, words: &[u16; WORDS]) {
        if let Some((address, bit)) = self.sends {
            let word = words.get(usize::from(address)).copied().unwrap_or_default();
            self.output = word >> (15 - bit) & 1 != 0;
            self.sends = Some(match bit {
                15 => ((address + 1) % WORDS as u8, 0),
                _ => (address, bit + 1),
            });
        } else if self.bits < START_AND_INSTRUCTION + ADDRESS_BITS
            && (self.bits > 0 || self.pins.data)
        {
            self.instruction = self.instruction << 1 | u16::from(self.pins.data);
            self.bits += 1;
            let whole = self.bits == START_AND_INSTRUCTION + ADDRESS_BITS;
            if whole && self.instruction >> ADDRESS_BITS == READ {
                self.sends = Some((self.instruction as u8 % WORDS as u8, 0));
                // A zero precedes the data.
                self.output = false;
            }
        }
    }

    /// The level of the data output.
    pub fn output(&self) -> bool {
        self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [u16; WORDS] {
        std::array::from_fn(|n| 0x8129 ^ (n as u16) << 7)
    }

    fn clock(chip: &mut Microwire, data: bool) -> bool {
        for level in [false, true] {
            let pins = Pins {
                select: true,
                clock: level,
                data,
            };
            chip.drive(pins, &words());
        }
        chip.output()
    }

    /// An instruction with an address, then so many bits.
    fn ask(chip: &mut Microwire, instruction: u16, address: u16, bits: u8) -> u32 {
        chip.drive(Pins::default(), &words());
        let all = instruction << ADDRESS_BITS | address;
        for n in (0..9).rev() {
            clock(chip, all >> n & 1 != 0);
        }
        (0..bits).fold(0, |v, _| v << 1 | u32::from(clock(chip, false)))
    }

    #[test]
    fn words_are_read() {
        let mut chip = Microwire::default();
        for n in [0u16, 1, 7, 63] {
            assert_eq!(ask(&mut chip, READ, n, 16), words()[usize::from(n)].into());
        }
        // On and on, around the end.
        let both = u32::from(words()[63]) << 16 | u32::from(words()[0]);
        assert_eq!(ask(&mut chip, READ, 63, 32), both);
        // Leading zeros are no start.
        chip.drive(Pins::default(), &words());
        clock(&mut chip, false);
        assert_eq!(chip.bits, 0);
    }

    #[test]
    fn nothing_is_written() {
        let mut chip = Microwire::default();
        assert_eq!(
            ask(&mut chip, 0b101, 3, 16),
            0xffff,
            "write: ready, and nothing done"
        );
        assert_eq!(ask(&mut chip, READ, 3, 16), words()[3].into());
    }
}

//! The chip's calendar: between seconds since 1970 and the ten time registers with the century, in the formats of register B.

use super::regs::*;

/// Time registers in the order of their addresses, without the alarms, and the century byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    pub weekday: u8,
    pub day: u8,
    pub month: u8,
    pub year: u8,
    pub century: u8,
}

/// Register B's format bits.
#[derive(Clone, Copy, Debug)]
pub struct Format(pub u8);

impl Format {
    fn is_binary(self) -> bool {
        self.0 & B_DM != 0
    }

    pub fn encode(self, v: i64) -> u8 {
        if self.is_binary() {
            v as u8
        } else {
            ((v / 10 % 10) << 4 | v % 10) as u8
        }
    }

    pub fn decode(self, v: u8) -> i64 {
        if self.is_binary() {
            v.into()
        } else {
            i64::from(v >> 4) * 10 + i64::from(v & 0xf)
        }
    }

    pub fn encode_hour(self, hour: i64) -> u8 {
        if self.0 & B_24H != 0 {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { HOUR_PM } else { 0 };
        self.encode((hour + 11) % 12 + 1) | pm
    }

    pub fn decode_hour(self, v: u8) -> i64 {
        if self.0 & B_24H != 0 {
            return self.decode(v);
        }
        let hour = self.decode(v & !HOUR_PM) % 12;
        hour + if v & HOUR_PM != 0 { 12 } else { 0 }
    }

    /// The registers at `unix` seconds; the weekday runs `skew` days ahead of the calendar's.
    pub fn render(self, unix: i64, skew: i64) -> Fields {
        let (days, tod) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Fields {
            second: self.encode(tod % 60),
            minute: self.encode(tod / 60 % 60),
            hour: self.encode_hour(tod / 3600),
            weekday: self.encode(weekday(days + skew)),
            day: self.encode(day),
            month: self.encode(month),
            year: self.encode(year.rem_euclid(100)),
            century: self.encode(year.div_euclid(100)),
        }
    }

    /// Seconds since 1970 and the skew of the weekday. Fields out of range count on into the next unit.
    pub fn parse(self, f: Fields) -> (i64, i64) {
        let year = self.decode(f.century) * 100 + self.decode(f.year);
        let month = self.decode(f.month).clamp(1, 12);
        let days = days_of(year, month, 1) + self.decode(f.day) - 1;
        let tod =
            self.decode_hour(f.hour) * 3600 + self.decode(f.minute) * 60 + self.decode(f.second);
        let skew = (self.decode(f.weekday) - weekday(days)).rem_euclid(7);
        (days * 86_400 + tod, skew)
    }
}

/// 1 is Sunday; day 0 (1 January 1970) was a Thursday.
fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7) + 1
}

/// Days before year `y` since 1 March of year 0, counting years from March: leap days come last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    365 * y + leaps + (153 * m + 2) / 5 + day - 1 - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    // The year by estimate, then corrected: at most one step, for the mean year is exact over 400 years.
    let mut year = 1970 + days.div_euclid(366);
    year += (days - days_of(year, 1, 1)).div_euclid(366);
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_of(year, month + 1, 1) <= days {
        month += 1;
    }
    (year, month, days - days_of(year, month, 1) + 1)
}

//! A picture of the screen, and its text.

/// A picture: lines from top to bottom, pixels from left to right, each 0x00RRGGBB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u32>,
}

impl Frame {
    /// A black picture.
    pub fn black(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            pixels: vec![0; width as usize * height as usize],
        }
    }

    /// A line's pixels; none beyond the picture.
    pub fn line(&self, y: u32) -> &[u32] {
        let w = self.width as usize;
        let at = w * y as usize;
        self.pixels.get(at..at + w).unwrap_or(&[])
    }

    /// Bytes of red, green, blue and opaque alpha for each pixel.
    pub fn rgba(&self) -> Vec<u8> {
        let bytes = self.pixels.iter().flat_map(|p| {
            let [b, g, r, _] = p.to_le_bytes();
            [r, g, b, 0xff]
        });
        bytes.collect()
    }

    /// Bytes of red, green and blue for each pixel.
    pub fn rgb(&self) -> Vec<u8> {
        let bytes = self.pixels.iter().flat_map(|p| {
            let [b, g, r, _] = p.to_le_bytes();
            [r, g, b]
        });
        bytes.collect()
    }
}

/// A character on the screen, in code page 437, with its colours as indices of [`TextScreen::palette`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub code: u8,
    pub foreground: u8,
    pub background: u8,
}

/// The screen of a text mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextScreen {
    pub columns: usize,
    pub rows: usize,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// Column and row of a cursor that is shown.
    pub cursor: Option<(usize, usize)>,
    /// 0x00RRGGBB.
    pub palette: [u32; 16],
}

impl TextScreen {
    /// The cells of a row; none beyond the screen.
    pub fn row(&self, y: usize) -> &[Cell] {
        let at = self.columns * y;
        self.cells.get(at..at + self.columns).unwrap_or(&[])
    }

    /// The characters, a line a row, without blanks at the ends of lines and without empty lines at the end.
    pub fn text(&self) -> String {
        let line = |y| {
            let cells = self.row(y).iter();
            let line: String = cells.map(|c| character(c.code)).collect();
            line.trim_end().to_string()
        };
        let text = (0..self.rows).map(line).collect::<Vec<_>>().join("\n");
        text.trim_end().to_string()
    }
}

/// Code page 437 as its font draws it.
const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/// The character that code page 437 has at `code`.
pub fn character(code: u8) -> char {
    let nth = |s: &str, n: u8| s.chars().nth(n.into()).unwrap_or(' ');
    match code {
        0..0x20 => nth(LOW, code),
        0x20..0x7f => code.into(),
        0x7f => '⌂',
        0x80.. => nth(HIGH, code - 0x80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_page_437_is_complete() {
        assert_eq!(LOW.chars().count(), 32);
        assert_eq!(HIGH.chars().count(), 128);
        assert_eq!(character(b'A'), 'A');
        assert_eq!(character(0xc4), '─');
        assert_eq!(character(0xdb), '█');
        assert_eq!(character(0xb3), '│');
        assert_eq!(character(0xfe), '■');
    }
}

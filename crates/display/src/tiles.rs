//! What changed between two pictures, as rectangles of tiles.

use devices::vga::Frame;

/// Pixels of a tile's edge.
pub(crate) const TILE: u32 = 64;

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// The tiles that differ, neighbours in a row as one; all of them if the sizes differ or there is no old picture.
pub(crate) fn changed(old: Option<&Frame>, new: &Frame) -> Vec<Rect> {
    let old = old.filter(|o| (o.width, o.height) == (new.width, new.height));
    let mut rects = Vec::new();
    for y in (0..new.height).step_by(TILE as usize) {
        let height = TILE.min(new.height - y);
        let mut open: Option<Rect> = None;
        for x in (0..new.width).step_by(TILE as usize) {
            let width = TILE.min(new.width - x);
            let span = x as usize..(x + width) as usize;
            let differs = match old {
                None => true,
                Some(old) => (y..y + height).any(|line| {
                    old.line(line).get(span.clone()) != new.line(line).get(span.clone())
                }),
            };
            match (&mut open, differs) {
                (Some(r), true) => r.width += width,
                (None, true) => {
                    open = Some(Rect {
                        x,
                        y,
                        width,
                        height,
                    });
                }
                (_, false) => rects.extend(open.take()),
            }
        }
        rects.extend(open);
    }
    rects
}

/// The pixels of a part, line by line.
pub(crate) fn pixels(frame: &Frame, r: Rect) -> impl Iterator<Item = u32> + '_ {
    (r.y..r.y + r.height).flat_map(move |y| {
        let line = frame.line(y);
        let span = r.x as usize..(r.x + r.width) as usize;
        line.get(span).unwrap_or(&[]).iter().copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_rectangle() {
        let a = Frame::black(200, 100);
        assert_eq!(changed(Some(&a), &a), []);
        assert_eq!(changed(None, &a).len(), 2);
        let mut b = a.clone();
        b.pixels[70] = 1;
        b.pixels[130] = 1;
        b.pixels[200 * 99] = 1;
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        assert_eq!(
            changed(Some(&a), &b),
            [rect(64, 0, 128, 64), rect(0, 64, 64, 36)]
        );
        assert_eq!(
            pixels(&b, rect(64, 0, 128, 64)).filter(|&p| p == 1).count(),
            2
        );
    }
}

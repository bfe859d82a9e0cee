//! The text that says which extents make a disk ("The Descriptor File").

use super::Trouble;

/// Where an extent's sectors are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zero,
    Flat { name: String, offset: u64 },
    Sparse { name: String },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub sectors: u64,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) struct Descriptor {
    pub extents: Vec<Extent>,
}

/// Extents of one disk.
const EXTENT_LIMIT: usize = 4096;

impl Descriptor {
    pub(super) fn parse(text: &str) -> Result<Self, Trouble> {
        if !text.trim_start().starts_with("# Disk DescriptorFile") {
            return Err(Trouble::Malformed(
                "its descriptor does not begin with '# Disk DescriptorFile'".into(),
            ));
        }
        let mut extents = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some((key, value)) = line.split_once('=') {
                let value = value.trim().trim_matches('"');
                if key.trim().eq_ignore_ascii_case("parentCID")
                    && !value.eq_ignore_ascii_case("ffffffff")
                {
                    return Err(Trouble::Unsupported(
                        "it is a snapshot of another disk; accepted is a disk without parent"
                            .into(),
                    ));
                }
            }
            let mut words = line.split_ascii_whitespace();
            if let Some("RW" | "RDONLY" | "NOACCESS") = words.next() {
                extents.push(extent(line)?);
                if extents.len() > EXTENT_LIMIT {
                    return Err(Trouble::Malformed(format!(
                        "it has more than {EXTENT_LIMIT} extents"
                    )));
                }
            }
        }
        Ok(Self { extents })
    }
}

/// One line: access, sectors, type, "file", offset.
fn extent(line: &str) -> Result<Extent, Trouble> {
    let bad = || Trouble::Malformed(format!("its descriptor has the line '{line}'"));
    let (front, rest) = line.split_once('"').unwrap_or((line, ""));
    let (name, tail) = rest.split_once('"').unwrap_or((rest, ""));
    let mut words = front.split_ascii_whitespace().skip(1);
    let sectors = words.next().and_then(|w| w.parse().ok()).ok_or_else(bad)?;
    let kind = words.next().ok_or_else(bad)?;
    let named = || match name {
        "" => Err(bad()),
        name => Ok(name.to_owned()),
    };
    let kind = match kind {
        "ZERO" => Kind::Zero,
        "FLAT" | "VMFS" => Kind::Flat {
            name: named()?,
            offset: match tail.trim() {
                "" => 0,
                offset => offset.parse().map_err(|_| bad())?,
            },
        },
        "SPARSE" => Kind::Sparse { name: named()? },
        other => {
            return Err(Trouble::Unsupported(format!(
                "its extent is of type {other}; accepted are FLAT, VMFS, SPARSE and ZERO"
            )));
        }
    };
    Ok(Extent { sectors, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\nRW 63 FLAT \"a b.vmdk\" 5\nRW 7 ZERO\nRDONLY 1 SPARSE \"s\"\n";
        let Ok(d) = Descriptor::parse(text) else {
            panic!("not read");
        };
        let want = [
            (
                63,
                Kind::Flat {
                    name: "a b.vmdk".into(),
                    offset: 5,
                },
            ),
            (7, Kind::Zero),
            (1, Kind::Sparse { name: "s".into() }),
        ];
        let got: Vec<_> = d.extents.into_iter().map(|e| (e.sectors, e.kind)).collect();
        assert_eq!(got, want);
        for bad in [
            "RW x FLAT \"a\"",
            "RW 1",
            "RW 1 FLAT",
            "RW 1 FLAT \"a\" z",
            "RW 1 SESPARSE \"a\"",
            "parentCID=1",
        ] {
            assert!(
                Descriptor::parse(&format!("# Disk DescriptorFile\n{bad}")).is_err(),
                "{bad}"
            );
        }
    }
}

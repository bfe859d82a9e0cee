//! The container of saved machine state: named, versioned sections of bytes.
//!
//! Each part of the machine (a chip, the processor, RAM) saves one [`Section`]. The bytes are the postcard encoding of a
//! plain `state` struct that the part owns; its version is bumped whenever that struct changes, and an older section is refused by
//! name rather than misread.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What goes wrong when state is saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The section belongs to another part.
    #[error("expected the state of {expected}, found that of {found}")]
    Name { expected: String, found: String },
    /// The section was written by another version of the part.
    #[error("state of {name} has version {found}, this build reads version {expected}")]
    Version {
        name: String,
        expected: u32,
        found: u32,
    },
    /// The bytes are not what the version promises.
    #[error("state of {name} is damaged")]
    Damaged {
        name: String,
        #[source]
        source: postcard::Error,
    },
}

/// The saved state of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Which part: unique inside one machine ("i8254", "cpu0").
    pub name: String,
    /// Version of the part's `state` struct.
    pub version: u32,
    bytes: Vec<u8>,
}

impl Section {
    /// Encodes `state` as the section `name`.
    pub fn new<S: Serialize>(name: &str, version: u32, state: &S) -> Result<Self, Error> {
        let bytes = postcard::to_stdvec(state).map_err(|source| Error::Damaged {
            name: name.into(),
            source,
        })?;
        Ok(Self {
            name: name.into(),
            version,
            bytes,
        })
    }

    /// Decodes the section if it is `name` in `version`.
    pub fn read<S: DeserializeOwned>(&self, name: &str, version: u32) -> Result<S, Error> {
        if self.name != name {
            return Err(Error::Name {
                expected: name.into(),
                found: self.name.clone(),
            });
        }
        if self.version != version {
            return Err(Error::Version {
                name: name.into(),
                expected: version,
                found: self.version,
            });
        }
        postcard::from_bytes(&self.bytes).map_err(|source| Error::Damaged {
            name: name.into(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_reads_back_and_refuses_others() {
        let s = Section::new("i8254", 1, &(7u32, "x".to_string())).unwrap();
        assert_eq!(
            s.read::<(u32, String)>("i8254", 1).unwrap(),
            (7, "x".into())
        );
        assert!(matches!(
            s.read::<(u32, String)>("i8259", 1),
            Err(Error::Name { .. })
        ));
        assert!(matches!(
            s.read::<(u32, String)>("i8254", 2),
            Err(Error::Version { found: 1, .. })
        ));
        let short = Section { bytes: vec![], ..s };
        assert!(matches!(
            short.read::<(u32, String)>("i8254", 1),
            Err(Error::Damaged { .. })
        ));
    }
}

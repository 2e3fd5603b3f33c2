//! Names in what is written and read back: by the grammar that they were first read by.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::{Digest, RepositoryName, Tag};

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! read_by_grammar {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

read_by_grammar!(Digest);
read_by_grammar!(RepositoryName);
read_by_grammar!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let digest = Digest::of(b"a");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert_eq!(serde_json::from_str::<Tag>("\"v1\"").unwrap().as_str(), "v1");
        assert!(serde_json::from_str::<Tag>("\"<b>\"").is_err());
        assert!(serde_json::from_str::<RepositoryName>("\"Team\"").is_err());
    }
}

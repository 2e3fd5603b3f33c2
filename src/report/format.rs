//! What all JSON documents share: their version, and how they write a moment.
//!
//! It must not know the documents.

use chrono::{DateTime, SecondsFormat, Utc};

/// The version of the documents. It changes only if a field changes its meaning.
pub(super) const VERSION: u32 = 1;

/// A moment: RFC 3339 in UTC, to the second.
pub fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// For `#[serde(with)]`: a moment.
pub(super) mod second {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::moment;

    pub(in crate::report) fn serialize<S: Serializer>(
        at: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment(*at))
    }

    pub(in crate::report) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(from)?;
        DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()).map_err(D::Error::custom)
    }
}

/// For `#[serde(with)]`: a moment, if there is one.
pub(super) mod maybe_second {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::moment;

    #[derive(Deserialize)]
    struct Moment(#[serde(with = "super::second")] DateTime<Utc>);

    pub(in crate::report) fn serialize<S: Serializer>(
        at: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(moment).serialize(serializer)
    }

    pub(in crate::report) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        Ok(Option::<Moment>::deserialize(from)?.map(|Moment(at)| at))
    }
}

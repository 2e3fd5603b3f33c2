//! Parsing JSON that contains secrets: an error names the place and never the value.

use serde::de::DeserializeOwned;

/// Parses JSON whose values may be secrets.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value: Result<T, _> = serde_path_to_error::deserialize(&mut deserializer);
    let value = value.map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        let place = format!("line {}, column {}", error.line(), error.column());
        if error.is_data() {
            format!("`{path}` ({place}) is not of the right kind")
        } else {
            format!("not JSON at {place}")
        }
    })?;
    deserializer
        .end()
        .map_err(|error| format!("not JSON at line {}, column {}", error.line(), error.column()))?;
    Ok(value)
}

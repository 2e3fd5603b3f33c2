//! A configuration file, or its text → settings.
//!
//! It only reads the file and calls the two stages; what the keys mean is known to [`super::validate`].

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::diagnostics::{ConfigError, Findings, Problem};
use super::env::Env;
use super::settings::Config;
use super::{validate, yaml};

/// The bytes of a configuration file, cut one byte after the largest allowed size.
pub fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.metadata()?.nlink() == 0 {
        // Only a bind mount of a single file can still be opened after the file has lost its last name.
        return Err(std::io::Error::other(
            "the file is mounted by itself (as by `docker run --volume FILE:FILE`) and was replaced on the host, so this is \
             still the old version; mount its directory instead and restart the container",
        ));
    }
    // The extra byte tells that the file is larger.
    let limit = u64::try_from(yaml::MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        std::io::Error::other(format!("the file is not valid UTF-8: byte {} is invalid", valid + 1))
    })
}

/// Reads and validates a configuration file.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, ConfigError> {
    load_with(path, env, parse)
}

/// The same for commands that connect to no registry: secrets and other files that the configuration names are not
/// read, and every secret is empty.
pub fn load_without_secrets(path: &Path, env: Env<'_>) -> Result<Config, ConfigError> {
    load_with(path, env, parse_without_secrets)
}

fn load_with(
    path: &Path,
    env: Env<'_>,
    parse: impl FnOnce(&str, &str, Env<'_>) -> Result<Config, ConfigError>,
) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    match read_text(path) {
        Ok(text) => parse(&text, &file, env),
        Err(error) => {
            let advice = match error.kind() {
                std::io::ErrorKind::NotFound => "create it (config/regsweep.yaml is an example)",
                std::io::ErrorKind::PermissionDenied => "allow the user that runs regsweep to read it",
                _ => "fix it",
            };
            let message = format!(
                "cannot read the configuration: {error}: {advice}, or name another file with --config or $REGSWEEP_CONFIG"
            );
            Err(ConfigError { file, problems: vec![Problem { path: String::new(), line: None, message }] })
        }
    }
}

/// Validates the text of a configuration file; errors name it `file`.
///
/// Paths in it are relative to the working directory. The secrets and files that it names are read now.
pub fn parse(text: &str, file: &str, env: Env<'_>) -> Result<Config, ConfigError> {
    let (written, findings) = yaml::parse(text, file)?;
    validate(written, findings, text, file, env)
}

fn parse_without_secrets(text: &str, file: &str, env: Env<'_>) -> Result<Config, ConfigError> {
    let (written, mut findings) = yaml::parse(text, file)?;
    findings.skip_secrets();
    validate(written, findings, text, file, env)
}

fn validate(
    written: super::schema::Config,
    mut findings: Findings,
    text: &str,
    file: &str,
    env: Env<'_>,
) -> Result<Config, ConfigError> {
    let config = validate::config(written, env, &mut findings);
    if findings.is_empty() { Ok(config) } else { Err(findings.into_error(file, text)) }
}

//! When status 404 means that something does not exist.

use super::client::{Request, Response};
use crate::registry::transport::error::Error;

/// The error codes of registries for a manifest that does not exist.
pub(super) const NO_MANIFEST: &[&str] = &["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"];
/// The error codes of registries for a blob that does not exist.
pub(super) const NO_BLOB: &[&str] = &["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "NOT_FOUND"];
/// The error codes of registries for a repository that does not exist.
pub(super) const NO_REPOSITORY: &[&str] = &["NAME_UNKNOWN", "NOT_FOUND"];

/// Checks that a 404 contains one of these codes. The 404 of a proxy does not, and proves nothing.
pub(super) fn confirm_not_found(
    request: &Request<'_>,
    response: &Response,
    codes: &[&str],
) -> Result<(), Error> {
    let error = Error::status("GET", &request.url, response.status, &response.body);
    if error.has_any_code(codes) { Ok(()) } else { Err(error) }
}

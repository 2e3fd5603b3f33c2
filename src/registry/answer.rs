//! One answer, read whole or not at all.
//!
//! It knows HTTP, and decides nothing.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use url::Url;

use super::error::{Error, Kind};

/// A whole answer, whatever it says.
pub(super) type Answer = (StatusCode, HeaderMap, Bytes);

/// Sends a request and reads the whole answer.
pub(super) async fn receive(
    method: &'static str,
    url: &Url,
    builder: reqwest::RequestBuilder,
    limit: usize,
) -> Result<Answer, Error> {
    let mut response = builder.send().await.map_err(|error| Error::transport(method, url, error))?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: usize = declared.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(declared.min(limit));
    let broken = |error| Error { status: Some(status), ..Error::transport(method, url, error) };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > limit {
            let message = format!("the answer is longer than {limit} bytes");
            return Err(Error { status: Some(status), ..Error::new(method, url, Kind::TooLarge, message) });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body.into()))
}

/// What `Retry-After` asks for: seconds, or a date, which is held against the answer's own date so that
/// our clock does not matter.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(DATE)?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_of(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|&(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        retry_after(&headers.collect())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait_of(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        let later = ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT");
        assert_eq!(wait_of(&[date, later]), Some(Duration::from_secs(30)));
        assert_eq!(wait_of(&[later]), None);
        assert_eq!(wait_of(&[("retry-after", "soon")]), None);
        assert_eq!(wait_of(&[]), None);
    }
}

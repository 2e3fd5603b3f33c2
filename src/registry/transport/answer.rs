//! Reading the answer to one HTTP request, within a size limit.
//!
//! It does not decide whether the answer is an error.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::sync::Semaphore;
use url::Url;

use super::error::{Error, Kind};

/// Only one answer larger than this is received at a time: several lists of the largest kind at once would fill
/// the memory of a small machine.
const LARGE_BODY_BYTES: usize = 1 << 20;

/// A complete answer with any status.
pub(crate) type Answer = (StatusCode, HeaderMap, Bytes);

/// Sends a request and reads the complete answer. The request that receives a large answer holds `large`.
pub(super) async fn receive(
    method: &'static str,
    url: &Url,
    builder: reqwest::RequestBuilder,
    limit: usize,
    large: &Semaphore,
) -> Result<Answer, Error> {
    let mut response = builder.send().await.map_err(|error| Error::transport(method, url, error))?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: usize = declared.and_then(|text| text.parse().ok()).unwrap_or(0);
    // The declared length may be a lie, so it reserves only a little memory.
    let mut body = Vec::with_capacity(declared.min(limit).min(LARGE_BODY_BYTES));
    let mut permit = None;
    let interrupted = |error| Error { status: Some(status), ..Error::transport(method, url, error) };
    while let Some(chunk) = response.chunk().await.map_err(interrupted)? {
        if body.len() + chunk.len() > limit {
            let message = format!("the answer is longer than {limit} bytes");
            return Err(Error { status: Some(status), ..Error::new(method, url, Kind::TooLarge, message) });
        }
        if body.len() + chunk.len() > LARGE_BODY_BYTES && permit.is_none() {
            // The semaphore is never closed.
            permit = large.acquire().await.ok();
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body.into()))
}

/// The wait that `Retry-After` asks for. A date in it is compared with the date of the answer, so that our own clock
/// does not matter.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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

    fn parse(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|&(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        retry_after(&headers.collect())
    }

    #[test]
    fn retry_after_accepts_seconds_and_dates() {
        assert_eq!(parse(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        let later = ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT");
        assert_eq!(parse(&[date, later]), Some(Duration::from_secs(30)));
        assert_eq!(parse(&[later]), None);
        assert_eq!(parse(&[("retry-after", "soon")]), None);
        assert_eq!(parse(&[]), None);
    }
}

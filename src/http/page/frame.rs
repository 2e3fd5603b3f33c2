//! What all pages have around their content: the head, the style, the header and the footer.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::http::api::mode;
use crate::http::status_store::ServiceStatus;

/// The only style sheet; the content security policy names its digest.
pub(in crate::http) const STYLE: &str = include_str!("style.css");

/// A whole page with this content. The overview has no title of its own.
pub(super) fn frame(title: &str, status: &ServiceStatus, now: DateTime<Utc>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if !title.is_empty() { (title) " · " } "regsweep" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { @if title.is_empty() { "regsweep" } @else { a href="/" { "regsweep" } } }
                    p.meta {
                        (env!("CARGO_PKG_VERSION"))
                        @if let Some(configuration) = &status.configuration {
                            " · mode " b { (mode(configuration.mode)) }
                        }
                        " · as of " time { (now.format("%F %T UTC")) }
                    }
                }
                main { (content) }
                footer {
                    nav aria-label="For programs" {
                        a href="/metrics" { "metrics" } " "
                        a href="/readyz" { "readiness" } " "
                        a href="/api/v1/status" { "status" } " "
                        a href="/api/v1/plan" { "plan" } " "
                        a href="/api/v1/history" { "history" } " "
                        a href="/api/v1/runs" { "runs" }
                    }
                }
            }
        }
    }
}

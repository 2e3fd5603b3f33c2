//! The tags of a repository: empty lists, pages, and lists that are invalid.

use regsweep::report::Outcome;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_holds, assert_untouched, failures, filled, image, list, tags,
};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality};

const LIST: &str = "/v2/odd/tags/list";

#[tokio::test]
async fn empty_tag_list_has_two_forms_and_a_missing_list_is_an_error() {
    for (body, expected) in [
        (r#"{"name":"odd","tags":null}"#, vec![]),
        (r#"{"name":"odd","tags":[]}"#, vec![]),
        (r#"{"name":"odd"}"#, vec![("odd", "invalid")]),
        (r#"{"tags":[]}"#, vec![("odd", "invalid")]),
        ("", vec![("odd", "invalid")]),
    ] {
        for personality in EVERY {
            let fake = filled(personality, &["good", "odd"]);
            fake.on(move |request| request.is("GET", LIST).then(|| Canned::status(200).body(body)));
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(failures(&report), expected, "{personality:?} {body}");
            assert_untouched(&fake, "odd", body);
            assert_expired_deleted(&fake, "good", body);
        }
    }
}

/// Two pages: the first has an expired tag of an image, the second its kept one.
fn paged(personality: Personality, link: &'static str) -> FakeRegistry {
    proxied(personality, &[], link)
}

/// The same behind a proxy that adds these `Link` headers before the registry's own.
fn proxied(personality: Personality, added: &'static [&'static str], link: &'static str) -> FakeRegistry {
    let fake = FakeRegistry::start(personality);
    let shared = image("shared", 1);
    fake.push("odd", "old-1", &shared);
    fake.push("odd", "stays", &shared);
    fake.push("odd", "old-2", &image("gone", 1));
    fake.on(move |request| {
        let own = format!("<{link}>; rel=\"next\"");
        let links = added.iter().copied().chain([own.as_str()]);
        let first = || {
            let mut page = list("odd", &["old-1", "old-2"]);
            page.headers.extend(links.map(|link| ("link".to_owned(), link.to_owned())));
            page
        };
        let second = || list("odd", &["stays"]);
        request.is("GET", LIST).then(|| if request.query("last").is_some() { second() } else { first() })
    });
    fake
}

#[tokio::test]
async fn kept_tag_on_the_last_page_keeps_its_image() {
    for personality in EVERY {
        for link in ["/v2/odd/tags/list?last=old-2", "list?n=2&last=old-2"] {
            let fake = paged(personality, link);
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Success, "{personality:?} {link}: {report:?}");
            assert_holds(&fake, "odd", &[&image("shared", 1)]);
            assert!(tags(&fake, "odd").contains(&"stays".to_owned()), "{personality:?} {link}");
        }
    }
}

#[tokio::test]
async fn page_that_cannot_be_read_leaves_the_repository_alone() {
    for personality in EVERY {
        for link in [
            "http://elsewhere.example/v2/odd/tags/list?last=old-2",
            "//elsewhere.example/v2/odd/tags/list?last=old-2",
            "/v2/odd/tags/list",
            "/v2/other/tags/list",
            "http://[nowhere",
        ] {
            let fake = paged(personality, link);
            fake.push("other", "stays", &image("other", 1));
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(failures(&report), [("odd", "invalid")], "{personality:?} {link}");
            assert_eq!(fake.mutating_requests(), [], "{personality:?} {link}");
        }
    }
}

#[tokio::test]
async fn proxy_links_do_not_hide_the_next_page() {
    for personality in EVERY {
        for headers in [
            &["</x.css>; rel=preload"][..],
            &["</x.css>; rel=preload; as=style, <https://cdn.example>; rel=preconnect; crossorigin"],
            &["</x>; rel=preload", "</y>; title=\"</z>; rel=next\""],
        ] {
            let fake = proxied(personality, headers, "/v2/odd/tags/list?last=old-2");
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Success, "{personality:?} {headers:?}: {report:?}");
            assert_holds(&fake, "odd", &[&image("shared", 1)]);
            assert!(tags(&fake, "odd").contains(&"stays".to_owned()), "{personality:?} {headers:?}");
        }
    }
}

#[tokio::test]
async fn link_that_is_invalid_is_not_the_end_of_the_list() {
    for personality in EVERY {
        for header in [
            &["</v2/odd/tags/list?last=old-2; rel=next"][..],
            &["</x.css>; rel=\"preload"],
            &["/v2/odd/tags/list?last=old-2"],
            &["</v2/odd/tags/list?last=old-1>; rel=next"],
        ] {
            let fake = proxied(personality, header, "/v2/odd/tags/list?last=old-2");
            fake.push("good", "stays", &image("good", 1));
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(failures(&report), [("odd", "invalid")], "{personality:?} {header:?}");
            assert_eq!(fake.mutating_requests(), [], "{personality:?} {header:?}");
        }
    }
}

/// With pages, 3.0 leaves out the tag after one that was deleted meanwhile.
#[tokio::test]
async fn tags_are_requested_without_a_page_size() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let shared = image("shared", 1);
        fake.push("app", "old-1", &shared);
        fake.push("app", "stays", &shared);
        fake.push("app", "old-2", &image("gone", 1));
        let mut lists = 0;
        fake.before(move |request, state| {
            lists += u32::from(request.is("GET", "/v2/app/tags/list"));
            if lists == 2 {
                state.repositories.get_mut("app").unwrap().tags.remove("old-1");
            }
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        let requests = fake.requests();
        // These requests test the version, and their answers are not used as lists.
        let asks = |path: &str| path.ends_with("?n=-1") || path.ends_with("&last=%7E");
        let lists = requests.iter().filter(|one| one.path.contains("/tags/list") && !asks(&one.path));
        let lists: Vec<&str> = lists.map(|one| one.path.as_str()).collect();
        assert_eq!(lists, ["/v2/app/tags/list"; 2], "{personality:?}: one to plan, one to verify");
        assert_holds(&fake, "app", &[&shared]);
        assert_eq!(tags(&fake, "app"), ["stays"], "{personality:?}");
    }
}

#[tokio::test]
async fn invalid_tag_names_are_reported_and_ignored() {
    let fake = filled(Personality::V2_8, &["odd"]);
    let strange = ["keep", "old-1", "old-2", "old-3", "", ".hidden", "a b", "x/../keep", "\u{1b}[31m"];
    fake.on(move |request| request.is("GET", LIST).then(|| list("odd", &strange)));
    let case = Case::of(&fake);
    let plan = case.scan_and_plan().await.unwrap().plan;
    assert_eq!(plan.repositories[0].dangling_tags, ["", ".hidden", "\\u{1b}[31m", "a b", "x/../keep"]);
    let report = case.run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "odd", "the valid tags are processed");
    assert!(fake.requests().iter().all(|one| !one.path.contains("..") && !one.path.contains("hidden")));
}

#[tokio::test]
async fn tag_without_a_manifest_is_dangling_and_the_rest_is_processed() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        fake.add_dangling_tag("app", "old-dangling");
        fake.add_dangling_tag("app", "lost");
        let case = Case::of(&fake);
        let plan = case.scan_and_plan().await.unwrap().plan;
        assert_eq!(plan.repositories[0].dangling_tags, ["lost", "old-dangling"], "{personality:?}");
        let report = case.run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_expired_deleted(&fake, "app", "dangling tags change nothing");
    }
}

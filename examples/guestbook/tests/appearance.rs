//! Every page, as a visitor sees it: in light and in dark colours, with a picture of each in `target/screenshots`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::support::{Book, Sight, Visitor, guided_tour};

const AXE: &str = include_str!("axe-core/axe.min.js");

/// What was seen of a page.
struct Seen {
    expected: Sight,
    status: u64,
    title: String,
    headings: Vec<String>,
    missing: Vec<&'static str>,
    findings: Vec<String>,
}

impl Seen {
    fn now(visitor: &Visitor<'_>, expected: Sight) -> Self {
        let parts = [
            "html[lang]",
            "a[href='#main']",
            "nav",
            "main#main",
            "div[role=status].notifications",
        ];
        let missing = parts.into_iter().filter(|part| !visitor.has_part(part));
        Self {
            status: visitor.status(),
            title: visitor.title(),
            headings: visitor.texts("h1"),
            missing: missing.collect(),
            findings: findings(visitor),
            expected,
        }
    }
}

/// Returns what axe-core finds wrong on the open page.
fn findings(visitor: &Visitor<'_>) -> Vec<String> {
    visitor.run(AXE);
    let found = visitor.run_async(
        "const {violations} = await axe.run(document, {resultTypes: ['violations']});
         return violations.flatMap(found => found.nodes.map(node =>
             `${found.id}: ${node.target}: ${node.failureSummary.split('\\n')[1]}`));",
    );
    let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
    let found = found.iter().filter_map(|one| one.as_str());
    found.map(str::to_owned).collect()
}

fn take_picture(visitor: &Visitor<'_>, name: &str) {
    let target = Path::new(env!("CARGO_BIN_EXE_guestbook"))
        .ancestors()
        .nth(2);
    let there = target.expect("it is in target/debug").join("screenshots");
    fs::create_dir_all(&there).expect("there is room for it");
    let file = there.join(name).with_extension("png");
    fs::write(file, visitor.screenshot()).expect("there is room for it");
}

/// Visits every page in one colour scheme, once for all tests.
fn tour(scheme: &str) -> &'static [Seen] {
    static TOURS: [OnceLock<Vec<Seen>>; 2] = [const { OnceLock::new() }; 2];
    TOURS[usize::from(scheme == "dark")].get_or_init(|| {
        let mut seen = Vec::new();
        guided_tour(scheme, |visitor, sight| {
            take_picture(visitor, &format!("{}-{scheme}", sight.name));
            seen.push(Seen::now(visitor, sight));
        });
        seen
    })
}

/// Each finding, and the pages that have it.
fn all_findings(scheme: &str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut pages = BTreeMap::<_, Vec<_>>::new();
    for page in tour(scheme) {
        for finding in &page.findings {
            pages
                .entry(finding.as_str())
                .or_default()
                .push(page.expected.name);
        }
    }
    pages
}

#[test]
fn every_page_is_accessible_in_light_colours() {
    let found = all_findings("light");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_page_is_accessible_in_dark_colours() {
    let found = all_findings("dark");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_page_has_its_status_and_title() {
    for page in tour("dark") {
        let Sight {
            name,
            status,
            title,
        } = page.expected;
        assert_eq!(page.status, status, "{name}");
        let prefix = page.title.split(" · ").next();
        assert_eq!(prefix, Some(title), "{name}");
    }
}

#[test]
fn every_page_has_one_heading_and_the_layout_of_the_site() {
    for page in tour("light") {
        let name = page.expected.name;
        assert_eq!(page.headings.len(), 1, "{name}: {:?}", page.headings);
        assert!(!page.headings[0].is_empty(), "{name}");
        assert!(page.missing.is_empty(), "{name} has no {:?}", page.missing);
    }
}

#[test]
fn the_two_colour_schemes_differ() {
    let book = Book::start();
    let ada = book.visitor();
    ada.visit("/");
    let [light, dark] = ["light", "dark"].map(|scheme| {
        ada.look(scheme);
        ada.screenshot()
    });
    assert!(light != dark);
}

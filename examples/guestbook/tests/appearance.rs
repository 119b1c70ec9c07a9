//! Every page is accessible in both colour schemes, and has a picture of each in `target/screenshots`.

use std::fs;
use std::path::Path;

use crate::support::{Visitor, guided_tour};

const AXE: &str = include_str!("axe-core/axe.min.js");

/// Returns what axe-core finds wrong on the open page.
fn findings(visitor: &Visitor<'_>) -> Vec<String> {
    visitor.run(AXE);
    let found = visitor.run_async(
        "const {violations} = await axe.run(document, {resultTypes: ['violations']});
         return violations.map(found => `${found.id}, ${found.help}: `
             + found.nodes.map(node => `${node.target} (${node.failureSummary})`).join('; '));",
    );
    let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
    found.iter().map(ToString::to_string).collect()
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

/// Takes a picture of every page in this colour scheme, and returns all findings.
fn tour(scheme: &str) -> Vec<String> {
    let mut found = Vec::new();
    guided_tour(|visitor, name, _| {
        visitor.look(scheme);
        take_picture(visitor, &format!("{name}-{scheme}"));
        let all = findings(visitor);
        found.extend(all.iter().map(|one| format!("{name}: {one}")));
    });
    found
}

#[test]
fn every_page_is_accessible_in_light_colours() {
    assert_eq!(tour("light"), Vec::<String>::new());
}

#[test]
fn every_page_is_accessible_in_dark_colours() {
    assert_eq!(tour("dark"), Vec::<String>::new());
}

#[test]
fn the_two_colour_schemes_differ() {
    let mut grounds = Vec::new();
    let book = crate::support::Book::start();
    let ada = book.visitor();
    for scheme in ["light", "dark"] {
        ada.look(scheme);
        ada.visit("/");
        grounds.push(ada.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1]);
}

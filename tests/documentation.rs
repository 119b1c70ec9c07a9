//! The guide is complete: no page is missing, no link is broken, and every example compiles.

mod errors;
mod guide;
mod shown;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

/// All Markdown pages of the project: the guide, and those next to the README.
fn markdown() -> Vec<String> {
    let guide = pages().into_iter().map(|page| format!("docs/{page}"));
    let names = fs::read_dir(ROOT).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<_> = guide
        .chain(names.filter(|name| name.ends_with(".md")))
        .collect();
    all.sort();
    all
}

/// All files of Rust below `folder`.
fn sources(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The targets of all links in `text` that lead to files: those in a link itself, and those that a last line
/// of the page gives to a link, as `[label]: target`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .chain(definitions(text).map(|(_label, target)| target))
        .filter(|target| !target.contains("://") && !target.is_empty())
        .map(|t| t.split('#').next().unwrap_or(t))
}

/// The labels of links in `text`, with the targets that the last lines give to them.
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('['));
    lines.filter_map(|line| line.split_once("]: "))
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = read("docs/SUMMARY.md");
    for page in pages().into_iter().filter(|page| page != "SUMMARY.md") {
        assert!(
            definitions(&summary).any(|(_label, target)| target == page),
            "{page} is not in the summary"
        );
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for file in markdown() {
        let folder = Path::new(ROOT).join(&file);
        let folder = folder.parent().unwrap();
        for link in links(&read(&file)) {
            assert!(folder.join(link).exists(), "{file} links to {link}");
        }
    }
}

#[test]
fn the_readme_shows_the_example_that_its_first_command_runs() {
    let readme = read("README.md");
    let code = readme
        .split("```rust,no_run\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let example = read("examples/hello.rs");
    let (_docs, example) = example.split_once("\n\n").expect("docs, then code");
    assert_eq!(code.expect("the README has code"), example);
    assert!(readme.lines().count() <= 60, "the README is one screen");
    assert!(readme.contains("cargo run --example hello") && readme.contains("tests/run.sh"));
}

/// The rows of the tables in `page`: their cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| "));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// Fails unless each of the `tests`, which a cell of a table names, is there.
fn assert_tests_exist(tests: &str) {
    let suite = ["contention", "deleting", "listing", "loading"]
        .map(|file| read(format!("src/testing/suite/{file}.rs")))
        .concat();
    for test in tests.split(", ").map(|test| test.trim_matches('`')) {
        let (file, name) = test
            .rsplit_once("::")
            .unwrap_or_else(|| panic!("{test} is no test"));
        let path = format!("tests/{}.rs", file.replace("::", "/"));
        let function = format!("fn {name}(");
        assert!(
            read(path).contains(&function) || file == "stores" && suite.contains(&function),
            "there is no test {test}"
        );
    }
}

/// The tests that pages name in tables with three columns: those about other systems, and that of the promises.
#[test]
fn every_row_about_a_promise_names_an_existing_test() {
    for (page, least) in [
        ("coming-from", 50),
        ("from-private-cookies", 20),
        ("from-rocket-flex-session", 20),
        ("from-tower-sessions", 40),
        ("security", 30),
    ] {
        let text = read(format!("docs/{page}.md"));
        let mut shown = 0;
        for row in rows(&text) {
            let [_theirs, _ours, tests] = row[..] else {
                panic!("{row:?} has not three cells")
            };
            if tests != "shown by" && tests != "tests" {
                assert_tests_exist(tests);
                shown += 1;
            }
        }
        assert!(shown >= least, "{page} has {shown} rows");
    }
}

#[test]
fn every_requirement_of_asvs_has_its_line_and_an_existing_test() {
    let page = read("docs/asvs.md");
    let mut numbers = Vec::new();
    for row in rows(&page).into_iter().filter(|row| row[0] != "number") {
        let [number, _requirement, level, _ours, application, tests] = row[..] else {
            panic!("{row:?} has not six cells")
        };
        assert!(["1", "2", "3"].contains(&level), "{number} has no level");
        assert!(!application.is_empty(), "{number}");
        if tests != "–" {
            assert_tests_exist(tests);
        }
        numbers.push(number);
    }
    let sections = [(1, 3), (2, 4), (3, 2), (4, 5), (5, 3), (6, 2)];
    let all = sections.map(|(section, count)| (1..=count).map(move |n| format!("7.{section}.{n}")));
    assert_eq!(numbers, all.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn the_costs_are_those_that_ci_holds() {
    let page = read("docs/costs.md").replace("no session used", "untouched");
    let page = page.replace("read and write", "write");
    let rows = rows(&page);
    let pinned = read("benches/instructions.tsv");
    for line in pinned.lines().skip(1) {
        let [store, route, count] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line} does not have three cells")
        };
        let is_shown = rows.iter().any(|row| {
            matches!(row[..], [act, place, _, cost]
                if (act, place) == (route, store) && cost.replace(' ', "") == count)
        });
        assert!(
            is_shown,
            "docs/costs.md does not say {count} for {route}, {store}"
        );
    }
}

#[test]
fn every_source_file_begins_with_a_sentence() {
    for path in ["src", "tests", "examples", "benches"]
        .into_iter()
        .flat_map(sources)
    {
        let said = read(&path).starts_with("//! ");
        assert!(said, "{} has no first sentence", path.display());
    }
}

#[test]
fn no_page_includes_another_file() {
    for file in markdown() {
        assert!(!read(&file).contains("{{#"), "{file} has an include");
    }
}

#[test]
fn every_row_of_a_table_has_as_many_cells_as_its_head() {
    for file in markdown() {
        let text = read(&file);
        let mut cells = 0;
        for line in text.lines().map(str::trim_start) {
            if !line.starts_with('|') {
                cells = 0;
                continue;
            }
            let separators = line.replace("\\|", "").matches('|').count();
            assert!(
                cells == 0 || cells == separators,
                "{file} has a row of another length: {line}"
            );
            cells = separators;
        }
    }
}

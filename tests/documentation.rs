//! The guide is whole: no page is missing, no link leads nowhere, and the README shows what runs.

use std::fs;
use std::path::Path;

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

/// The targets of all links in `text` that lead to files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.is_empty())
        .map(|t| t.split('#').next().unwrap_or(t))
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = read("docs/SUMMARY.md");
    for page in pages().into_iter().filter(|page| page != "SUMMARY.md") {
        assert!(
            summary.contains(&format!("({page})")),
            "{page} is not in the summary"
        );
    }
}

#[test]
fn no_link_leads_nowhere() {
    let files = pages()
        .into_iter()
        .map(|page| format!("docs/{page}"))
        .chain(["README.md".into(), "CHANGELOG.md".into()]);
    for file in files {
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

#[test]
fn every_row_of_coming_from_names_a_test_that_shows_it() {
    let page = read("docs/coming-from.md");
    let suite = ["contention", "deleting", "listing", "loading"]
        .map(|file| read(format!("src/testing/suite/{file}.rs")))
        .concat();
    let mut shown = 0;
    for row in rows(&page) {
        let [_theirs, _ours, tests] = row[..] else {
            panic!("{row:?} has not three cells")
        };
        if tests == "shown by" {
            continue;
        }
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
        shown += 1;
    }
    assert!(shown >= 50, "{shown} rows");
}

#[test]
fn every_source_file_says_what_lives_there() {
    fn look(folder: &Path) {
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                look(&entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).unwrap();
                assert!(
                    text.starts_with("//! "),
                    "{} has no first sentence",
                    entry.display()
                );
            }
        }
    }
    for folder in ["src", "tests", "examples", "benches"] {
        look(&Path::new(ROOT).join(folder));
    }
}

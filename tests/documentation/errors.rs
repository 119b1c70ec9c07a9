//! The page of troubleshooting quotes the texts that the crate has, and all of them.

use std::collections::BTreeSet;

use super::{read, rows, sources};

/// The texts in the string literals of `code`, without those of its unit tests. What a format fills in is `…`.
fn literals(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]\nmod tests").next();
    let mut code = code.expect("there is a first part");
    let mut found = Vec::new();
    while let Some(place) = code.find(['"', '/', '\'']) {
        let (before, rest) = code.split_at(place);
        if rest.starts_with("//") {
            code = rest.split_once('\n').map_or("", |(_comment, rest)| rest);
        } else if let Some(inside) = rest.strip_prefix('"') {
            let end = end_of(inside);
            let text = text_of(&inside[..end]);
            let expected = before.trim_end().ends_with("expect(") || before.ends_with("reason = ");
            found.extend((!expected).then_some(text));
            code = &inside[end + 1..];
        } else {
            // A quotation mark may be a character.
            let skip = if rest.starts_with("'\"'") { 3 } else { 1 };
            code = &rest[skip..];
        }
    }
    found
}

/// The length of a literal whose first quotation mark is before `inside`.
fn end_of(inside: &str) -> usize {
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.expect("a literal ends")
}

/// The text of a literal: lines that go on are one, and what a format fills in is `…`.
fn text_of(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let joined = lines.fold(first, |text, line| text + line.trim_start());
    let joined = joined.replace("\\\"", "\"").replace("\\n", "");
    let mut parts = joined.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.split_once('}').map_or(part, |(_name, rest)| rest);
        text + "…" + rest
    })
}

/// Texts that are parts of others, for programs, or for the debugger.
const PARTS: [&str; 19] = [
    " at `…`",
    " at …",
    "TOML parse error at",
    "byte … of",
    "the …: ",
    "the cookie `…` (……)",
    "a token in `…`",
    "… or …",
    "Save(… bytes, for …, …)",
    "no such master",
    ": syntax error",
    "lru_crawler metadump hash",
    "… at …",
    "the database of the application's pool",
    "sqlite 1 column",
    "sqlite 1 syntax",
    "sqlite 1 table",
    "id, revision, saved, expires, bytes",
    "name, value, expires",
];

/// The sentences that this crate can say to a developer or write into the log. The words of the program on the command
/// line, and those of the decoders about what they found, are no part of them.
fn said() -> BTreeSet<String> {
    let files = sources("src").into_iter().filter(|file| {
        let file = file.to_string_lossy();
        let other = [
            "src/testing/",
            "src/cli/",
            "src/bin/",
            "src/storable/",
            "src/config/page/",
            "src/book.rs",
            // It has only statements for databases.
            "src/store/sql/dialect.rs",
        ];
        let other = other.iter().any(|folder| file.contains(folder));
        let import = file.contains("src/import/") && !file.ends_with("import/directory.rs");
        let tests = file.ends_with("interleavings.rs") || file.ends_with("tests.rs");
        !other && !import && !tests
    });
    let texts = files.flat_map(|file| literals(&read(file)));
    let texts = texts.map(|text| text.trim_end().to_owned());
    let is_sentence = |text: &String| {
        text.matches(' ').count() >= 2
            && !["rocket_session_kit:", "SELECT ", "SET "]
                .iter()
                .any(|start| text.starts_with(start))
            && !["redis.call", "\\r", "\\0", "\n"]
                .iter()
                .any(|code| text.contains(code))
            && !PARTS.contains(&text.as_str())
    };
    texts.filter(is_sentence).collect()
}

/// The texts that a cell of a table quotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split(", `")
        .map(|text| text.trim_matches('`').trim().to_owned())
        .collect()
}

/// The texts on the page: in the first column, and at its end in the second one.
fn on_the_page() -> BTreeSet<String> {
    let page = read("docs/troubleshooting.md");
    let (tables, actions) = page
        .split_once("## What could not be done")
        .expect("it has an end");
    let (_symptoms, tables) = tables.split_once("## While the app").expect("it begins");
    let texts = rows(tables)
        .into_iter()
        .map(|row| row[0].to_owned())
        .filter(|cell| cell.starts_with('`'))
        .map(|cell| cell.trim_matches('`').trim().to_owned())
        .filter(|text| text != "Unauthorized" && text != "Unavailable");
    let actions = rows(actions);
    let actions = actions.iter().filter(|row| row[1] != "actions");
    texts
        .chain(actions.flat_map(|row| quoted(row[1])))
        .collect()
}

#[test]
fn the_page_of_troubleshooting_has_every_text_and_no_other() {
    let (said, on_the_page) = (said(), on_the_page());
    assert!(said.len() > 200, "{} texts", said.len());
    let missing: Vec<_> = said.difference(&on_the_page).collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md lacks {missing:#?}"
    );
    let invented: Vec<_> = on_the_page.difference(&said).collect();
    assert!(invented.is_empty(), "the crate says nowhere {invented:#?}");
}

#[test]
fn literals_are_read_as_they_are_shown() {
    let code = r#"// "no"
        fail('"', "one {a} \"two\" \
                   three"); x.expect("not this"); "`{}`""#;
    assert_eq!(literals(code), ["one … \"two\" three", "`…`"]);
}

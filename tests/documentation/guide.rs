//! The pages of the guide are modules of the documentation, and their links lead to each other there too.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ROOT, definitions, links, pages, read};

/// Only a link whose target is in a last line of the page leads to another place in the documentation.
#[test]
fn links_between_pages_name_their_files_at_the_end_of_the_page() {
    for page in pages() {
        let text = read(format!("docs/{page}"));
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            assert!(
                target.starts_with('#') || target.contains("://"),
                "{page}: write [text][page] in place of [text]({target}), and a last line [page]: page.md"
            );
        }
        let known: Vec<_> = definitions(&text).map(|(label, _target)| label).collect();
        for label in text
            .split("][")
            .skip(1)
            .filter_map(|rest| rest.split(']').next())
        {
            let is_label = label.starts_with(|c: char| c.is_ascii_lowercase())
                && !label.contains(|c: char| c.is_whitespace() || "()\"'".contains(c));
            assert!(
                !is_label || known.contains(&label),
                "{page}: no last line says which file {label} is"
            );
        }
        for (label, target) in definitions(&text) {
            assert!(
                text.contains(&format!("][{label}]")),
                "{page}: no link has the label {label}"
            );
            let of_target = target.replacen(".md", "", 1).replacen(".svg", "", 1);
            assert_eq!(label, of_target, "{page}: the label is that of the target");
        }
    }
}

/// The pictures as definitions of links: a page of the documentation has no files beside it.
fn pictures() -> String {
    let folder = fs::read_dir(Path::new(ROOT).join("docs/img")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "svg"));
    files.sort();
    let lines = files.iter().map(|file| {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let data = STANDARD.encode(fs::read(file).unwrap());
        format!("[img/{name}]: data:image/svg+xml;base64,{data}\n")
    });
    lines.chain(["\n".to_owned()]).collect()
}

const PICTURES: &str = "docs/img/pictures.md";

#[test]
fn the_documentation_has_the_pictures_of_the_guide() {
    assert!(
        read(PICTURES) == pictures(),
        "{PICTURES} is out of date; run `cargo test --all-features --test all write_the_pictures -- --ignored`"
    );
}

#[test]
#[ignore = "it writes docs/img/pictures.md"]
fn write_the_pictures() {
    fs::write(Path::new(ROOT).join(PICTURES), pictures()).unwrap();
}

/// Renders the guide alone, as rustdoc renders it in the documentation of the crate, and returns its folder.
fn rendered() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    // Pages of an earlier run may have other names.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let root = folder.join("lib.rs");
    let book = Path::new(ROOT).join("src/book.rs");
    let lines = format!("#[path = {book:?}]\nmod book;\npub use book::guide;\n");
    fs::write(&root, lines).unwrap();
    let mut rustdoc = Command::new(std::env::var_os("RUSTDOC").unwrap_or("rustdoc".into()));
    rustdoc.args([
        "--edition",
        "2024",
        "--crate-name",
        "guide",
        "-D",
        "warnings",
    ]);
    for feature in [
        "redis",
        "memcached",
        "postgres",
        "mysql",
        "sqlite",
        "perl",
        "import",
        "metrics",
    ] {
        rustdoc.args(["--cfg", &format!("feature={feature:?}")]);
    }
    let output = rustdoc.arg("--out-dir").arg(&folder).arg(root).output();
    let output = output.expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    folder.join("guide/guide")
}

/// `path` without `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
        path
    })
}

#[test]
fn each_page_is_a_module_whose_links_lead_to_its_neighbours() {
    let folder = rendered();
    let mut all = HashMap::new();
    for page in pages() {
        let module = page.trim_end_matches(".md").replace('-', "_");
        let path = match page.as_str() {
            "SUMMARY.md" => folder.join("index.html"),
            _ => folder.join(module).join("index.html"),
        };
        let html = fs::read_to_string(&path);
        let html = html.unwrap_or_else(|_| panic!("src/book.rs has no module for docs/{page}"));
        all.insert(path, html);
    }
    let mut followed = 0;
    for (path, html) in &all {
        // In an example, `<` is escaped.
        let tags = html.split('<').filter_map(|rest| rest.split('>').next());
        let targets = tags.flat_map(|tag| {
            [" href=\"", " src=\""].map(|name| tag.split(name).nth(1)?.split('"').next())
        });
        for target in targets.flatten() {
            if target.contains(':') || target.contains("static.files") {
                continue;
            }
            assert!(
                !target.contains(".md"),
                "{} links to {target}",
                path.display()
            );
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let other = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap().join(file)),
            };
            // The pages of the sources have a number for each line, which a script makes.
            let Some(html) = all.get(&other) else {
                assert!(other.exists(), "{} links to {target}", path.display());
                continue;
            };
            let id = format!("id=\"{place}\"");
            assert!(
                place.is_empty() || html.contains(&id),
                "{} links to {target}, which is no heading there",
                path.display()
            );
            followed += 1;
        }
    }
    assert!(followed > 500, "{followed} links");
    assert!(links(&read("docs/SUMMARY.md")).count() >= pages().len() - 1);
}

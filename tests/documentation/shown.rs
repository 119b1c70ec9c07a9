//! Each example compiles as its reader sees and copies it: without the lines that rustdoc hides.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{ROOT, markdown, read, sources};

/// An example, and the lines that its reader does not see.
struct Example {
    /// The file and the line where it begins, as a file name.
    place: String,
    hidden: Vec<String>,
    shown: Vec<String>,
}

impl Example {
    /// Reads a line of the example by the rules of rustdoc.
    fn push(&mut self, line: &str) {
        match line.trim_start() {
            "#" => {}
            hidden if hidden.starts_with("# ") => self.hidden.push(hidden[2..].to_owned()),
            escaped if escaped.starts_with("##") => self.shown.push(line.replacen("##", "#", 1)),
            _ => self.shown.push(line.to_owned()),
        }
    }
}

/// Returns the Rust examples among the `lines` of `file`, which come with their numbers.
fn examples<'t>(file: &str, lines: impl Iterator<Item = (usize, &'t str)>) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Example)> = None;
    for (number, line) in lines {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open.take(), fence) {
            (None, None) => None,
            (None, Some(info)) => {
                let mut words = info.split(',');
                let rust =
                    words.next() == Some("rust") && words.all(|word| word.trim() == "no_run");
                let place = format!("{}-{}.rs", file.replace('/', "-"), number + 1);
                let example = Example {
                    place,
                    hidden: Vec::new(),
                    shown: Vec::new(),
                };
                Some((rust, example))
            }
            (Some((rust, example)), Some(_)) => {
                found.extend(rust.then_some(example));
                None
            }
            (Some((rust, mut example)), None) => {
                example.push(line);
                Some((rust, example))
            }
        };
    }
    assert!(open.is_none(), "a block of {file} does not end");
    found
}

/// Returns the documentation in a line of Rust, if it is a documentation comment.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or(line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// Returns the examples of all pages and of all items.
fn all() -> Vec<Example> {
    let pages = markdown().into_iter().flat_map(|file| {
        let text = read(&file);
        examples(&file, text.lines().enumerate())
    });
    let items = sources("src").into_iter().flat_map(|path| {
        let text = read(&path);
        let lines = text.lines().enumerate();
        let lines = lines.filter_map(|(number, line)| Some((number, documentation(line)?)));
        let file = path.strip_prefix(ROOT).expect("a file of the project");
        examples(&file.to_string_lossy(), lines)
    });
    pages.chain(items).collect()
}

#[test]
fn no_example_shows_its_test_or_hides_a_part_of_itself() {
    for Example {
        place,
        hidden,
        shown,
    } in all()
    {
        assert!(
            !shown.iter().any(|line| line.contains("testing::doc")),
            "{place} shows how it is tested"
        );
        assert!(
            !hidden
                .iter()
                .any(|line| ["/*", "*/"].contains(&line.trim())),
            "{place} hides code in a comment"
        );
    }
}

/// Writes `examples` into `folder`, each as a file, and returns the crate that contains all of them.
fn write_crate(folder: &Path, examples: &[Example]) -> PathBuf {
    let mut root = String::from("#![allow(warnings)]\n");
    for (number, Example { place, shown, .. }) in examples.iter().enumerate() {
        // As in rustdoc, the example is the body of a function, so `?` works.
        let body = shown.join("\n");
        let module = format!(
            "fn example() -> Result<(), Box<dyn std::error::Error>> {{\n{body}\n; Ok(()) }}\n"
        );
        fs::write(folder.join(place), module).unwrap();
        writeln!(root, "#[path = {place:?}]\nmod example_{number};").unwrap();
    }
    let path = folder.join("shown.rs");
    fs::write(&path, root).unwrap();
    path
}

/// Returns the library that cargo built as `name`, from its JSON messages.
fn library(built: &str, name: &str) -> PathBuf {
    let mut libraries = built
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| {
            let files = message["filenames"].as_array()?.iter();
            let mut files = files.filter_map(|file| file.as_str());
            files
                .find(|file| file.ends_with(".rlib"))
                .map(PathBuf::from)
        });
    let library = libraries.next();
    assert!(
        libraries.next().is_none(),
        "cargo built {name} twice: which of them is ours?"
    );
    library.unwrap_or_else(|| panic!("cargo built no {name}"))
}

/// Returns the output of `command`, if it succeeded.
fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    output
}

/// Compiles the crate whose root is `root`. The libraries are those that this test was built with, so this takes
/// only seconds.
#[cfg(all(feature = "redis", feature = "memcached"))]
fn compile(root: &Path, options: &[&str]) {
    let folder = root.parent().expect("a file is in a directory");
    let mut cargo = crate::support::process::cargo();
    cargo.args(["test", "--offline", "--all-features", "--test", "all"]);
    cargo.args(["--no-run", "--message-format", "json", "--target-dir"]);
    cargo.arg(folder.ancestors().nth(2).expect("the target directory"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = run(&mut cargo);
    let built = String::from_utf8(built.stdout).expect("JSON");

    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition", "2024"]).args(options);
    rustc.arg("--out-dir").arg(folder);
    for name in [
        "argon2",
        "askama",
        "metrics_exporter_prometheus",
        "rocket",
        "rocket_session_kit",
        "redis",
        "serde",
        "serde_json",
        "sqlx",
        "tempfile",
    ] {
        let library = library(&built, name);
        rustc
            .arg("--extern")
            .arg(format!("{name}={}", library.display()));
        let beside = library.parent().expect("a file is in a directory");
        rustc
            .arg("-L")
            .arg(format!("dependency={}", beside.display()));
    }
    run(rustc.arg(root));
}

#[test]
#[cfg(all(feature = "redis", feature = "memcached"))]
fn every_example_compiles_as_it_is_copied() {
    let examples = all();
    assert!(examples.len() > 80, "{} examples", examples.len());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shown");
    fs::create_dir_all(&folder).unwrap();
    let root = write_crate(&folder, &examples);
    compile(&root, &["--crate-type", "lib", "--emit", "metadata"]);
}

/// Each step of the tutorial is a file, whose name is in its first line. The last `main.rs` has all of them, and a
/// test, which runs.
#[test]
#[cfg(all(feature = "redis", feature = "memcached"))]
fn the_steps_of_the_tutorial_are_one_program() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial");
    fs::create_dir_all(&folder).unwrap();
    for step in ["", "-accounts", "-entries", "-sessions", "-redis"] {
        let page = read(format!("docs/tutorial{step}.md"));
        // The last `main.rs` cannot be an example of its own: its modules are other examples.
        let page = page.replace("```rust,ignore", "```rust");
        let [file] = &examples(step, page.lines().enumerate())[..] else {
            panic!("the step {step} has not one file")
        };
        let name = file.shown[0].strip_prefix("// src/").expect("its name");
        fs::write(folder.join(name), file.shown.join("\n")).unwrap();
    }
    compile(&folder.join("main.rs"), &["--test"]);
    let mut test = Command::new(folder.join("main"));
    let ran = run(test.env("ROCKET_LOG_LEVEL", "off").current_dir(&folder));
    let ran = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.contains("1 passed"), "{ran}");
}

/// The settings of its last step need a server. Without one, the application launches if it may.
#[rocket::async_test]
#[cfg(all(feature = "redis", feature = "memcached"))]
async fn the_settings_of_the_tutorial_are_valid() {
    use rocket::figment::providers::{Format, Toml};
    crate::support::log::keep();
    let page = read("docs/tutorial-redis.md");
    let settings = page.split("```toml\n").nth(1).expect("it has settings");
    let settings = settings.split("```").next().expect("they end");
    let address = crate::support::process::free_port();
    let settings = settings.replace("6379", &address.to_string());
    let figment = rocket::Config::figment()
        .merge(Toml::string(&settings).nested())
        .merge(("log_level", "off"))
        .merge(("sessions.require_store_at_launch", false));
    let rocket = rocket::custom(figment).attach(rocket_session_kit::Sessions::fairing());
    let rocket = rocket.ignite().await.expect("the settings are valid");
    let sessions = rocket.state::<rocket_session_kit::Sessions>();
    assert_eq!(sessions.expect("it is attached").store().name(), "redis");
}

//! The repository's rules, as tests: sizes, where `unsafe` and the kernel's bindings may stand, that the
//! engine and the protocol stay strangers, that documents name what is there.
//!
//! Each rule is a pure function from text to complaints, and has a sample that it must refuse. The rules
//! judge text, not meaning: what the compiler or clippy can check is checked there. There are no exceptions
//! for single files; a rule that refuses too much is mended at the constants below, with the reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rust_text::words_per_line;

mod rust_text;
mod samples;

const MAX_LINES: usize = 600;
const MAX_COLUMNS: usize = 110;

/// The engine's modules that may hold `unsafe`.
const UNSAFE_MODULES: &[&str] = &["arena", "ring", "sys"];

/// Crates that bind the kernel's interfaces, and the engine's modules that may name them.
const FENCED_CRATES: &[(&str, &[&str])] = &[("io_uring", &["ring"]), ("libc", &["arena", "ring", "sys"])];

/// Spelled in two halves, because this file is read by its own rule.
const FORBIDDEN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("FIX", "ME"),
    concat!("dbg", "!("),
    // The test harness keeps what a passing test prints this way to itself.
    concat!("println!(\"SK", "IP"),
];

/// Commands of README that CI does not run, as prefixes, with the reason.
const NOT_RUN_BY_CI: &[(&str, &str)] = &[
    ("git clone ", "CI starts from a clone"),
    ("cd ", "so does this"),
    (".ci/run", "this is CI"),
    ("ringperf netserver -D", "every test of cli/tests/it/netserver.rs starts it"),
    ("ringperf run tcp-stream -H ", "cli/tests/it/interop.rs runs it against our netserver and a stock one"),
    ("eval \"$(ringperf shims ", "cli/tests/it/shims.rs evaluates it and runs what it finds"),
    ("netperf -H HOST -t UDP_STREAM -- -P 12866 -r ", "cli/tests/it/netperf/study.rs runs it, size by size"),
];

struct File {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

#[test]
fn rust_files_are_short_and_narrow() {
    assert_clean(rust_files().iter().flat_map(oversize));
}

#[test]
fn unsafe_stays_in_its_modules() {
    assert_clean(rust_files().iter().flat_map(stray_unsafe));
}

#[test]
fn kernel_bindings_stay_in_their_modules() {
    assert_clean(rust_files().iter().flat_map(stray_bindings));
}

#[test]
fn engine_and_proto_are_strangers() {
    let manifests = [("engine", read("engine/Cargo.toml")), ("proto", read("proto/Cargo.toml"))];
    let acquainted = manifests.iter().flat_map(|(krate, manifest)| acquaintances(krate, manifest));
    let sources = rust_files();
    assert_clean(acquainted.chain(sources.iter().flat_map(mentions_of_strangers)));
}

#[test]
fn readme_commands_are_what_ci_runs() {
    assert_clean(commands_not_run(&read("README.md"), &read(".ci/run")));
}

#[test]
fn decisions_are_numbered_or_linked() {
    let names = files().into_iter().filter_map(|f| f.path.strip_prefix("docs/decisions/").map(str::to_owned));
    let design = std::fs::read_to_string(root().join("docs/design.md")).unwrap_or_default();
    assert_clean(lost_decisions(&names.collect::<Vec<_>>(), &design));
}

#[test]
fn no_file_holds_a_forbidden_word() {
    assert_clean(files().iter().flat_map(forbidden_words));
}

#[test]
fn every_dependency_has_its_reason() {
    assert_clean(unexplained_dependencies(&read("Cargo.toml"), &read("docs/dependencies.md")));
}

#[test]
fn the_protocol_checks_arithmetic_in_release_builds() {
    assert_clean(unchecked_arithmetic(&read("Cargo.toml")));
}

#[test]
fn changelog_names_the_version() {
    assert_clean(missing_version(&read("CHANGELOG.md"), env!("CARGO_PKG_VERSION")));
}

// The rules.

fn oversize(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        complaints.push(format!("{}: {lines} lines, at most {MAX_LINES}: split it", file.path));
    }
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            complaints.push(format!("{}:{}: {columns} columns, at most {MAX_COLUMNS}", file.path, index + 1));
        }
    }
    complaints
}

fn stray_unsafe(file: &File) -> Vec<String> {
    if in_engine_modules(&file.path, UNSAFE_MODULES) {
        return Vec::new();
    }
    words_per_line(&file.text)
        .filter(|(_, words)| words.iter().any(|word| word == "unsafe"))
        .map(|(line, _)| format!("{}:{line}: unsafe outside {UNSAFE_MODULES:?} of the engine", file.path))
        .collect()
}

fn stray_bindings(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (krate, modules) in FENCED_CRATES {
        if in_engine_modules(&file.path, modules) {
            continue;
        }
        for (line, words) in words_per_line(&file.text) {
            // a path that starts with the crate's name, or its import; a field of that name is neither
            let named = words.windows(2).any(|pair| {
                pair == [*krate, "::"] || (["use", "crate"].contains(&pair[0].as_str()) && pair[1] == *krate)
            });
            if named {
                complaints.push(format!("{}:{line}: {krate} outside {modules:?} of the engine", file.path));
            }
        }
    }
    complaints
}

/// What the protocol may depend on: pure functions of bytes.
const ARITHMETIC: [&str; 3] = ["hmac", "sha2", "subtle"];

/// Dependencies by which `krate`, the engine or the protocol, would know a crate that it must not know.
fn acquaintances(krate: &str, manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for Dependency { table, name } in dependencies(manifest) {
        if name.contains("ringperf") || name.contains("netperf") {
            complaints
                .push(format!("{krate}/Cargo.toml: [{table}] names {name}; only the command knows both"));
        } else if krate == "proto" && !table.ends_with("dev-dependencies") && !ARITHMETIC.contains(&&*name) {
            complaints.push(format!(
                "proto/Cargo.toml: [{table}] names {name}; the protocol needs nothing but {ARITHMETIC:?}"
            ));
        }
    }
    complaints
}

fn mentions_of_strangers(file: &File) -> Vec<String> {
    let strangers: &[&str] = match file.path.split_once('/') {
        Some(("engine", _)) => &["ringperf_proto", "ringperf", "netperf"],
        Some(("proto", _)) => &["ringperf_engine", "ringperf"],
        _ => return Vec::new(),
    };
    words_per_line(&file.text)
        .flat_map(|(line, words)| words.into_iter().map(move |word| (line, word)))
        .filter(|(_, word)| strangers.contains(&word.as_str()))
        .map(|(line, word)| format!("{}:{line}: names {word}; only the command knows both", file.path))
        .collect()
}

/// Lines of README's `sh` blocks that are no whole line of the CI script.
fn commands_not_run(readme: &str, ci: &str) -> Vec<String> {
    let run: BTreeSet<&str> = ci.lines().map(str::trim).collect();
    let commands = fenced_commands(readme);
    let mut complaints: Vec<String> = commands
        .iter()
        .filter(|command| !run.contains(*command))
        .filter(|command| !NOT_RUN_BY_CI.iter().any(|(prefix, _)| command.starts_with(prefix)))
        .map(|command| format!("README.md: `{command}` is no line of .ci/run"))
        .collect();
    // one builds and runs the main job, one passes the tests
    if commands.iter().filter(|command| run.contains(*command)).count() < 2 {
        complaints.push("README.md: needs two commands in sh blocks that .ci/run runs".to_owned());
    }
    complaints
}

fn lost_decisions(names: &[String], design: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut numbers = BTreeSet::new();
    for name in names {
        match decision_number(name) {
            Some(number) if !numbers.insert(number) => {
                complaints.push(format!("docs/decisions/{name}: the number {number} is taken"));
            }
            None if !design.contains(&format!("](decisions/{name})")) => complaints
                .push(format!("docs/decisions/{name}: neither NNNN-title.md nor linked from docs/design.md")),
            _ => {}
        }
    }
    complaints
}

fn forbidden_words(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| line.contains(*word)) {
            complaints.push(format!("{}:{}: holds {word}", file.path, index + 1));
        }
    }
    complaints
}

/// External workspace dependencies and rows of the table in docs/dependencies.md that lack each other.
fn unexplained_dependencies(manifest: &str, document: &str) -> Vec<String> {
    let declared: BTreeSet<String> = dependencies(manifest)
        .into_iter()
        .filter(|dependency| dependency.table == "workspace.dependencies")
        .map(|dependency| dependency.name)
        .filter(|name| !name.starts_with("ringperf-"))
        .collect();
    let explained: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(_, reason)| reason.chars().any(char::is_alphabetic))
        .map(|(name, _)| name.to_owned())
        .collect();
    let missing =
        declared.difference(&explained).map(|name| format!("docs/dependencies.md: no row for {name}"));
    let stale =
        explained.difference(&declared).map(|name| format!("docs/dependencies.md: {name} is not used"));
    missing.chain(stale).collect()
}

/// Clippy lets no arithmetic that may overflow into the protocol; this is for what it does not see.
fn unchecked_arithmetic(manifest: &str) -> Vec<String> {
    let profile = "[profile.release.package.ringperf-proto]";
    let rest = manifest.split_once(profile).map_or("", |(_, rest)| rest);
    let own = rest.split("\n[").next().unwrap_or_default();
    let checked = own.lines().any(|line| line.trim() == "overflow-checks = true");
    if checked { Vec::new() } else { vec![format!("Cargo.toml: {profile} lacks overflow-checks = true")] }
}

fn missing_version(changelog: &str, version: &str) -> Vec<String> {
    let heading = format!("## [{version}]");
    let found = changelog.lines().any(|line| line.starts_with(&heading));
    if found { Vec::new() } else { vec![format!("CHANGELOG.md: no heading `{heading}`")] }
}

// What the rules read with.

/// `engine/src/NAME.rs` or anything below `engine/src/NAME/`.
fn in_engine_modules(path: &str, modules: &[&str]) -> bool {
    let Some(module) = path.strip_prefix("engine/src/") else { return false };
    modules
        .iter()
        .any(|name| module.strip_prefix(name).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

fn decision_number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let numbered = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    let titled = !title.is_empty() && title.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (numbered && titled).then_some(number)
}

/// Commands in the fenced blocks marked `sh`, without prompts and comments.
fn fenced_commands(markdown: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut in_shell = None;
    for line in markdown.lines().map(str::trim) {
        match (line.strip_prefix("```"), in_shell) {
            (Some(language), None) => in_shell = Some(language == "sh"),
            (Some(_), Some(_)) => in_shell = None,
            (None, Some(true)) => {
                let command = line.split(" #").next().unwrap_or(line).trim();
                let command = command.strip_prefix("$ ").unwrap_or(command);
                if !command.is_empty() && !command.starts_with('#') {
                    commands.push(command);
                }
            }
            (None, _) => {}
        }
    }
    commands
}

#[derive(Debug, PartialEq)]
struct Dependency {
    table: String,
    name: String,
}

/// The dependencies of a manifest, in every table that ends with `dependencies`, in the two spellings that
/// TOML allows there: a key in the table, or a table of its own.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut table = "";
    let mut add = |table: &str, name: &str| {
        found.push(Dependency { table: table.to_owned(), name: name.trim_matches('"').to_owned() });
    };
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
            if let Some((parent, name)) = table.rsplit_once('.')
                && parent.ends_with("dependencies")
            {
                add(parent, name);
            }
        } else if table.ends_with("dependencies")
            && let Some((key, _)) = line.split_once('=')
            && !line.starts_with('#')
        {
            add(table, key.trim().split('.').next().unwrap_or_default());
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rust_files() -> Vec<File> {
    files().into_iter().filter(File::is_rust).collect()
}

/// Every text file below the repository, without git's own and what is built.
fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let entry = entry.expect("a folder of the repository can be read");
            let kind = entry.file_type().expect("an entry has a type");
            let path = entry.path();
            // Where a repository has several working trees, `.git` is a file.
            if entry.file_name() == "target" || entry.file_name() == ".git" {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(&root).expect("found below the root");
                found.push(File { path: relative.to_string_lossy().into_owned(), text });
            }
        }
    }
    assert!(found.iter().any(|file| file.path == "cli/tests/it/tidy.rs"), "the walk found {}", found.len());
    found
}

fn assert_clean(complaints: impl IntoIterator<Item = String>) {
    let mut list = String::new();
    for complaint in complaints {
        writeln!(list, "  {complaint}").expect("writing to a string works");
    }
    assert!(list.is_empty(), "the repository breaks a rule:\n{list}");
}

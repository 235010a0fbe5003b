//! Samples that each rule must refuse, and near ones that it must not.

use super::*;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn long_and_wide_files_are_refused() {
    assert_eq!(oversize(&file("a.rs", &"\n".repeat(MAX_LINES + 1))).len(), 1);
    assert_eq!(oversize(&file("a.rs", &"é".repeat(MAX_COLUMNS + 1))).len(), 1);
    let full = format!("{}\n", "é".repeat(MAX_COLUMNS)).repeat(MAX_LINES);
    assert!(oversize(&file("a.rs", &full)).is_empty());
}

#[test]
fn unsafe_is_refused_only_as_a_word_of_code() {
    let block = "fn f() {\n    unsafe { g() }\n}";
    assert_eq!(
        stray_unsafe(&file("engine/src/ringside.rs", block)),
        ["engine/src/ringside.rs:2: unsafe outside [\"arena\", \"ring\", \"sys\"] of the engine"]
    );
    for path in ["cli/src/main.rs", "engine/tests/it/ring.rs", "engine/src/plan.rs"] {
        assert_eq!(stray_unsafe(&file(path, block)).len(), 1, "{path}");
    }
    for path in ["engine/src/arena.rs", "engine/src/ring/probe.rs", "engine/src/sys.rs"] {
        assert!(stray_unsafe(&file(path, block)).is_empty(), "{path}");
    }
    let harmless = concat!(
        "#![forbid(unsafe_code)] // unsafe\n/* unsafe /* */ unsafe */\n",
        "f(\"unsafe \\\" unsafe\", r#\"unsafe \" unsafe\"#, '\"', b'\\'', \"unsafe\")"
    );
    assert!(stray_unsafe(&file("cli/src/main.rs", harmless)).is_empty());
    // neither a lifetime nor a quote as a character hides what follows
    for hidden in ["fn f<'a>() { unsafe {} }", "('\"', unsafe {}, '\"')", "r#unsafe()"] {
        assert_eq!(stray_unsafe(&file("cli/src/main.rs", hidden)).len(), 1, "{hidden}");
    }
}

#[test]
fn bindings_are_refused_outside_their_modules() {
    let ring = "let ring = io_uring::IoUring::new(8);";
    assert_eq!(stray_bindings(&file("engine/src/worker.rs", ring)).len(), 1);
    assert_eq!(stray_bindings(&file("engine/src/sys.rs", ring)).len(), 1);
    assert_eq!(stray_bindings(&file("cli/src/main.rs", "use libc;")).len(), 1);
    assert!(stray_bindings(&file("engine/src/ring.rs", ring)).is_empty());
    assert!(stray_bindings(&file("engine/src/sys/time.rs", "libc::close(3)")).is_empty());
    let other = "tokio_uring::start(); facts.io_uring = true; // libc::close";
    assert!(stray_bindings(&file("cli/src/main.rs", other)).is_empty());
}

#[test]
fn acquaintance_is_refused() {
    assert_eq!(acquaintances("engine", "[dependencies]\nringperf-proto.workspace = true").len(), 1);
    assert_eq!(acquaintances("engine", "[dev-dependencies.ringperf-proto]\npath = \"x\"").len(), 1);
    assert_eq!(acquaintances("proto", "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"").len(), 1);
    assert!(acquaintances("engine", "[package]\nname = \"ringperf-engine\"\n[dependencies]").is_empty());
    assert!(acquaintances("proto", "[dev-dependencies]\nproptest.workspace = true").is_empty());
    assert_eq!(mentions_of_strangers(&file("engine/src/lib.rs", "use ringperf_proto::Frame;")).len(), 1);
    assert_eq!(mentions_of_strangers(&file("proto/tests/it/main.rs", "ringperf_engine::prepare")).len(), 1);
    assert!(mentions_of_strangers(&file("cli/src/bridge.rs", "use ringperf_proto::Frame;")).is_empty());
    assert!(mentions_of_strangers(&file("engine/src/lib.rs", "//! not ringperf_proto")).is_empty());
}

#[test]
fn commands_that_ci_does_not_run_are_refused() {
    let ci = "main() {\n  cargo run\n}\ncargo test\ncargo test --doc";
    let readme =
        "```sh\ngit clone X\n$ cargo run  # builds\n```\n```text\nno command\n```\n```sh\ncargo test\n```";
    assert!(commands_not_run(readme, ci).is_empty());
    assert_eq!(
        commands_not_run(&readme.replace("cargo run", "cargo runs"), ci),
        [
            "README.md: `cargo runs` is no line of .ci/run",
            "README.md: needs two commands in sh blocks that .ci/run runs"
        ]
    );
    assert_eq!(commands_not_run("no commands", ci).len(), 1);
    // a part of a line is not a command that runs
    assert_eq!(commands_not_run(readme, &ci.replace("cargo run", "echo cargo run")).len(), 2);
}

#[test]
fn lost_decisions_are_refused() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert!(lost_decisions(&names(&["0001-one.md", "0002-two-words.md"]), "").is_empty());
    assert_eq!(lost_decisions(&names(&["0001-one.md", "0001-two.md"]), "").len(), 1);
    assert_eq!(lost_decisions(&names(&["1-one.md", "notes.md", "0003-.md"]), "").len(), 3);
    assert!(lost_decisions(&names(&["notes.md"]), "see [notes](decisions/notes.md)").is_empty());
}

#[test]
fn forbidden_words_are_refused() {
    for word in FORBIDDEN {
        assert_eq!(forbidden_words(&file("docs/a.md", &format!("a\nb {word}) c"))).len(), 1, "{word}");
    }
    assert!(forbidden_words(&file("docs/a.md", "worker/ a list of things to do")).is_empty());
}

#[test]
fn unexplained_dependencies_are_refused() {
    let manifest = "[workspace.dependencies]\nringperf-proto = { path = \"proto\" }\nlibc = \"0.2\"\n";
    assert!(unexplained_dependencies(manifest, "| `libc` | system calls |").is_empty());
    assert_eq!(
        unexplained_dependencies(manifest, "libc\n| `serde` | text |"),
        ["docs/dependencies.md: no row for libc", "docs/dependencies.md: serde is not used"]
    );
    assert_eq!(unexplained_dependencies(manifest, "| `libc` | |").len(), 1);
}

#[test]
fn unchecked_arithmetic_is_refused() {
    let profile = "[profile.release.package.ringperf-proto]\noverflow-checks = true\n";
    assert!(unchecked_arithmetic(profile).is_empty());
    assert_eq!(unchecked_arithmetic(&profile.replace("true", "false")).len(), 1);
    assert_eq!(unchecked_arithmetic(&profile.replace("\nover", "\n[profile.dev]\nover")).len(), 1);
    assert_eq!(unchecked_arithmetic("[profile.release]\noverflow-checks = true").len(), 1);
}

#[test]
fn an_unnamed_version_is_refused() {
    assert!(missing_version("# Changelog\n\n## [1.2.3] - 2024-01-01", "1.2.3").is_empty());
    assert_eq!(missing_version("## [1.2.30]\n1.2.3", "1.2.3").len(), 1);
}

//! Manual pages and completions: what a formatter and a shell say to them, and that no option is missing.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::{RINGPERF, skip};

fn ringperf(words: &[&str]) -> Output {
    Command::new(RINGPERF).args(words).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints text")
}

fn page(name: &str) -> String {
    let output = ringperf(&["man", name]);
    assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
    text(&output.stdout)
}

/// The names of all pages, as the complaint about one that is missing lists them.
fn names() -> Vec<String> {
    let output = ringperf(&["man", "no-such-page"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    let complaint = text(&output.stderr);
    let list = complaint.trim_end().split_once("next: name one of ").expect("a list").1;
    list.split(", ").map(str::to_owned).collect()
}

/// Runs `program` with `input` at its standard input.
fn feed(program: &str, words: &[&str], input: &str) -> Option<Output> {
    let pipes = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = pipes.ok()?;
    child.stdin.take().expect("stdin is piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().ok()
}

#[test]
fn netperfs_page_names_every_variable_of_the_environment() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/netperf.md");
    let document = std::fs::read_to_string(file).expect("it is there");
    let (_, section) = document.split_once("\n## Environment\n").expect("a section");
    let rows = section.lines().take_while(|line| !line.starts_with('#'));
    let names: Vec<&str> =
        rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect();
    assert!(names.len() >= 3, "{names:?}");
    let page = page("netperf");
    let (_, told) = page.split_once("ENVIRONMENT").expect("a section");
    for name in names {
        assert!(told.contains(name), "{name}: {told}");
    }
}

#[test]
fn a_formatter_finds_nothing_wrong_with_the_pages() {
    let names = names();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        let words = ["-T", "lint", "-W", "warning"];
        let Some(output) = feed("mandoc", &words, &page(name)) else {
            return skip("a_formatter_finds_nothing_wrong_with_the_pages", "mandoc", "no mandoc on the path");
        };
        // clap's pages have a blank line behind a line break here and there, which shows as one.
        let said = text(&output.stdout);
        let complaints: Vec<&str> =
            said.lines().filter(|line| !line.contains("skipping paragraph macro: br ")).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:#?}");
    }
}

#[test]
fn the_programs_pages_name_every_option() {
    for (program, usages) in [
        ("netserver", vec![vec!["netserver", "-h"]]),
        (
            "netperf",
            vec![
                vec!["netperf", "-h"],
                vec!["netperf", "--", "-h"],
                vec!["netperf", "-t", "TCP_SENDFILE", "--", "-h"],
            ],
        ),
    ] {
        let page = page(program);
        for words in usages {
            let output = ringperf(&words);
            let usage = text(&output.stderr) + &text(&output.stdout);
            let mut count = 0;
            for line in usage.lines().filter_map(|line| line.strip_prefix("  -")) {
                let option = format!("-{}", line.split(' ').next().unwrap_or_default());
                let bold = format!("\\fB{}\\fR", option.replace('-', "\\-"));
                assert!(page.contains(&bold), "no {bold} in the page of {program}");
                count += 1;
            }
            assert!(count > 15, "{words:?}: {count} options in {usage}");
        }
    }
}

#[test]
fn the_commands_pages_name_every_option() {
    for name in names().iter().filter(|name| name.starts_with("ringperf")) {
        // Their own words are listed on their own pages.
        if name.ends_with("-netperf") || name.ends_with("-netserver") {
            continue;
        }
        let command: Vec<&str> = name.split('-').skip(1).chain(["--help"]).collect();
        let help = text(&ringperf(&command).stdout);
        let page = page(name);
        let words = help.lines().filter(|line| line.starts_with("  ")).flat_map(|line| {
            line.split([' ', ',']).filter(|word| word.starts_with("--")).take(1).collect::<Vec<_>>()
        });
        let mut count = 0;
        for word in words {
            let option = word.trim_end_matches(['.', ':', ';', ')']);
            assert!(page.contains(&option.replace('-', "\\-")), "no {option} in the page of {name}");
            count += 1;
        }
        assert!(count > 0, "{name}: {help}");
    }
}

#[test]
fn a_shell_reads_the_completions() {
    let output = ringperf(&["completions", "bash"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let script = text(&output.stdout) + "\ncomplete -p ringperf\n";
    let Some(read) = feed("bash", &["--norc"], &script) else {
        return skip("a_shell_reads_the_completions", "bash", "no bash on the path");
    };
    assert!(read.status.success(), "{read:?}");
    assert!(text(&read.stdout).contains(" ringperf"), "{read:?}");
}

//! `ringperf shims`: names that scripts call, and nothing that it must not touch.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::RINGPERF;

/// A folder of its own for a test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringperf-shims-{test}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shims(dir: &Path) -> Output {
    Command::new(RINGPERF).arg("shims").arg(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn links_are_made_and_made_again() {
    let folder = Folder::new("made");
    let dir = folder.0.join("a b/bin");
    for _ in 0..2 {
        let output = shims(&dir);
        assert_eq!(text(&output.stderr), "");
        assert_eq!(text(&output.stdout), format!("export PATH='{}':\"$PATH\"\n", dir.display()));
        assert_eq!(output.status.code(), Some(0));
    }
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["netperf", "netserver"]);

    let line = text(&shims(&dir).stdout).to_owned();
    let script = format!("{line}\nnetperf -V && netserver -V");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(text(&output.stdout), "Netperf version 2.7.0\nNetperf version 2.7.0\n");

    // Complaints name the program as it was called.
    let netperf = dir.join("netperf");
    let output = Command::new(&netperf).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = format!("{}: invalid option -- '-'\n\nUsage: netperf ", netperf.display());
    assert!(text(&output.stderr).starts_with(&complaint), "{}", text(&output.stderr));
}

#[test]
fn older_links_are_replaced() {
    let folder = Folder::new("older");
    let netperf = folder.0.join("netperf");
    symlink("/nowhere/bin/ringperf", &netperf).unwrap();
    assert_eq!(shims(&folder.0).status.code(), Some(0));
    assert_eq!(netperf.canonicalize().unwrap(), Path::new(RINGPERF).canonicalize().unwrap());
}

#[test]
fn what_is_not_ours_stays() {
    let folder = Folder::new("foreign");
    let (netperf, netserver) = (folder.0.join("netperf"), folder.0.join("netserver"));

    fs::write(&netserver, "a file").unwrap();
    let output = shims(&folder.0);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "USAGE: cannot put a link at {0}: something else is there, and is no link\n  decided by: DIR\n  \
             next: remove {0} or name another folder\n",
            netserver.display()
        )
    );
    assert_eq!(fs::read(&netserver).unwrap(), b"a file");
    assert!(fs::symlink_metadata(&netperf).is_err(), "one was linked and the other not");

    fs::remove_file(&netserver).unwrap();
    symlink("/usr/bin/netperf", &netperf).unwrap();
    let output = shims(&folder.0);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a link to /usr/bin/netperf is there"));
    assert_eq!(fs::read_link(&netperf).unwrap(), Path::new("/usr/bin/netperf"));
}

#[test]
fn a_folder_that_path_cannot_hold_is_refused() {
    let folder = Folder::new("colon");
    let dir = folder.0.join("a:b");
    let output = shims(&dir);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "USAGE: cannot put {} into PATH: PATH is divided by colons, and its line is printed as text\n  \
             decided by: DIR\n  next: name a folder without colons, in UTF-8\n",
            dir.display()
        )
    );
    assert!(!dir.exists());
}

#[test]
fn netperf_reads_its_words_itself() {
    // clap would take the first `--` for its own.
    let output = Command::new(RINGPERF).args(["netperf", "--", "-h"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("Usage: netperf [options] -- [test options]"));
    assert_eq!(text(&output.stderr), "");

    let output = Command::new(RINGPERF).args(["netperf", "-h"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("Usage: netperf [options] [-- test options]"));
}

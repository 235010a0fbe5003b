//! `ringperf shims DIR`: links under netperf's names, for scripts that call its programs by them.
//!
//! Makes the links and prints the line that puts them first in PATH. Nothing but links of its own is ever
//! replaced, and PATH itself is the caller's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::{Class, Failure};

/// What the program answers to.
const NAMES: [&str; 2] = ["netperf", "netserver"];

/// Links the names in `dir` and prints the line for the shell; failures go to standard error.
pub(crate) fn main(dir: &Path) -> ExitCode {
    match running_program().and_then(|program| link_all(dir, &program)) {
        Ok(dir) => {
            println!("export PATH={}:\"$PATH\"", quoted(&dir.to_string_lossy()));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.class().exit_code())
        }
    }
}

/// The file this process runs from.
fn running_program() -> Result<PathBuf, Failure> {
    let tried = "find the file of the running program";
    let program = std::env::current_exe().map_err(|error| Failure::io(Class::Environment, tried, &error))?;
    match program.try_exists() {
        Ok(true) => Ok(program),
        // The system keeps the name of a file that was replaced while it ran, with a remark behind it.
        _ => Err(Failure::new(Class::Environment, tried, format!("{} is gone", program.display()))
            .next("start the program that replaced it")),
    }
}

/// Links every name in `dir` to `program`; all or, where one is taken, none. Returns the folder's full path.
fn link_all(dir: &Path, program: &Path) -> Result<PathBuf, Failure> {
    let environment = |tried: String| move |error: io::Error| Failure::io(Class::Environment, tried, &error);
    let dir = std::path::absolute(dir)
        .map_err(environment(format!("find the folder '{}'", dir.display())))
        .map_err(|failure| failure.setting("DIR"))?;
    if dir.to_str().is_none_or(|text| text.contains(':')) {
        return Err(Failure::new(
            Class::Usage,
            format!("put {} into PATH", dir.display()),
            "PATH is divided by colons, and its line is printed as text",
        )
        .setting("DIR")
        .next("name a folder without colons, in UTF-8"));
    }
    fs::create_dir_all(&dir)
        .map_err(environment(format!("make the folder {}", dir.display())))
        .map_err(|failure| failure.setting("DIR").next("name a folder that you may write to"))?;
    for name in NAMES {
        refuse_foreign(&dir.join(name), program)?;
    }
    for name in NAMES {
        let link = dir.join(name);
        replace(&link, program)
            .map_err(environment(format!("link {} to {}", link.display(), program.display())))
            .map_err(|failure| failure.setting("DIR").next("name a folder that you may write to"))?;
    }
    Ok(dir)
}

/// An error if something stands at `link` that is no link to a ringperf.
fn refuse_foreign(link: &Path, program: &Path) -> Result<(), Failure> {
    let tried = format!("put a link at {}", link.display());
    let class = Class::Usage;
    let taken = |what: &str| {
        let next = format!("remove {} or name another folder", link.display());
        Err(Failure::new(class, &tried, what).setting("DIR").next(next))
    };
    match fs::symlink_metadata(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(Class::Environment, tried, &error).setting("DIR")),
        Ok(found) if !found.is_symlink() => taken("something else is there, and is no link"),
        Ok(_) => match fs::read_link(link) {
            Ok(target) if is_ringperf(&target, program) => Ok(()),
            Ok(target) => taken(&format!("a link to {} is there", target.display())),
            Err(error) => Err(Failure::io(Class::Environment, tried, &error).setting("DIR")),
        },
    }
}

/// Judged by the name: the program that an older link leads to may have moved since.
fn is_ringperf(target: &Path, program: &Path) -> bool {
    let name = target.file_name();
    name == Some(OsStr::new("ringperf")) || (name.is_some() && name == program.file_name())
}

/// Puts the link in place at once: a script that is starting finds the old one or the new one.
fn replace(link: &Path, program: &Path) -> io::Result<()> {
    let mut name = link.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = link.with_file_name(name);
    symlink(program, &new)?;
    fs::rename(&new, link).inspect_err(|_| {
        // What remains in the way is named by its suffix; the error that counts is the first.
        let _ = fs::remove_file(&new);
    })
}

/// `word` as one word of a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "%+,-./:=@_".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_stay_words_in_a_shell() {
        assert_eq!(quoted("/opt/a-b_1"), "/opt/a-b_1");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

//! The file that names the process which serves (`--pid-file`).
//!
//! The process that wrote it holds a lock on it for as long as it lives, so that a file which was left behind
//! is told from one of a netserver that runs. Nothing is followed or overwritten that is no such file: a name
//! may lie in a folder where others write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::log::reason;
use crate::error::errno_text;

/// Bytes of the longest number of a process, and its line's end.
const BYTES_MAX: u64 = 11;

/// Files that come and go between two looks, before that is called a failure.
const TRIES: usize = 10;

/// The file, ours until this is dropped, which removes it.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Takes the file at `path`, which should not depend on the folder of this process, and writes its number
    /// into it.
    ///
    /// # Errors
    /// A sentence: whose file it is, or what the kernel said.
    pub(super) fn take(path: &Path) -> Result<Self, String> {
        for _ in 0..TRIES {
            if let Some(file) = open_locked(path)? {
                let mut taken = Self { path: path.to_owned(), file };
                return taken.write().map(|()| taken);
            }
        }
        Err(told(path, "somebody removes it again and again"))
    }

    fn write(&mut self) -> Result<(), String> {
        let failed = |error: io::Error| told(&self.path, &reason(&error));
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(failed)?;
        writeln!(self.file, "{}", std::process::id()).map_err(failed)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another one may have taken its place, where somebody removed ours.
        if names(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The file at `path` with its lock; `None` where it was removed meanwhile, which its last owner does.
fn open_locked(path: &Path) -> Result<Option<File>, String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let mut file = options.open(path).map_err(|error| told(path, &refused(&error)))?;
    let metadata = file.metadata().map_err(|error| told(path, &reason(&error)))?;
    if !metadata.is_file() || metadata.nlink() > 1 || metadata.len() > BYTES_MAX {
        return Err(told(path, "it is something else than the file of a process, and stays as it is"));
    }
    let locked = file.try_lock();
    let mut text = String::new();
    let read = (&mut file).take(BYTES_MAX).read_to_string(&mut text);
    if read.is_err() || !text.trim_end().bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(told(path, "it holds something else than the number of a process, and stays as it is"));
    }
    match locked {
        Ok(()) => Ok(names(path, &file).then_some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(told(path, &format!("a netserver that runs has it (process {})", text.trim_end())))
        }
        Err(TryLockError::Error(error)) => Err(told(path, &reason(&error))),
    }
}

/// Whether `path` is still a name of `file`.
fn names(path: &Path, file: &File) -> bool {
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (std::fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(ours)) => same(&there, &ours),
        _ => false,
    }
}

/// Why the file was not opened. O_NOFOLLOW has a number of its own for what it refuses.
fn refused(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) if errno == rustix::io::Errno::LOOP.raw_os_error() => {
            "it is a symbolic link, which is not followed (ELOOP)".to_owned()
        }
        Some(errno) => format!("{} ({})", errno_text(errno), reason(error)),
        None => error.to_string(),
    }
}

fn told(path: &Path, cause: &str) -> String {
    format!(
        "cannot write the process's number to {}: {cause}; --pid-file decides it, `ls -l` shows what is \
         there",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test's own. Gone when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("ringperf-{}-{name}", std::process::id()));
            std::fs::create_dir(&folder).expect("a folder can be made");
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_holds_our_number_and_goes_with_us() {
        let folder = Folder::new("own");
        let path = folder.0.join("pid");
        // One that was left behind is longer than ours may be.
        std::fs::write(&path, "4194304000\n").unwrap();
        let taken = PidFile::take(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::take(&path).unwrap_err();
        assert!(refused.contains(&format!("runs has it (process {})", std::process::id())), "{refused}");
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_such_file_stays_as_it_is() {
        let folder = Folder::new("foreign");
        let (precious, pid) = (folder.0.join("precious"), folder.0.join("pid"));
        for content in ["root:x:0:0\n", "12 x\n", "a text that is longer than any number\n"] {
            std::fs::write(&precious, content).unwrap();
            assert!(PidFile::take(&precious).is_err(), "{content}");
            assert_eq!(std::fs::read_to_string(&precious).unwrap(), content);
        }
        // By a link, not even a file that could be one.
        std::fs::write(&precious, "12\n").unwrap();
        std::os::unix::fs::symlink(&precious, &pid).unwrap();
        assert!(PidFile::take(&pid).unwrap_err().contains("ELOOP"));
        std::fs::remove_file(&pid).unwrap();
        std::fs::hard_link(&precious, &pid).unwrap();
        assert!(PidFile::take(&pid).is_err());
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "12\n");
        assert!(PidFile::take(&folder.0).is_err());
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let folder = Folder::new("successor");
        let path = folder.0.join("pid");
        let taken = PidFile::take(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let successor = PidFile::take(&path).unwrap();
        drop(taken);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
    }
}

//! Passphrases: where they are read from, and that nothing prints them.
//!
//! Knows nothing of how one is shown or proven to a netserver; that is the protocol's.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Longest passphrase that a frame has room for, in bytes.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 647;

/// Names the folder in which systemd keeps what a service alone may read. It lets the service in by an access
/// list, which a file's mode shows as if its group were let in.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A passphrase that can be sent. It shows itself nowhere but to whoever asks for its bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Passphrase(Vec<u8>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Why there is no passphrase in a file.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It cannot be read.
    Io(io::Error),
    /// Its first line is none, or others could have seen it: in a sentence about the file.
    Is(String),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Passphrase {
    /// An empty passphrase would look like a closed door, and one that no frame has room for would never open
    /// it.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let fits = (1..=PASSPHRASE_BYTES_MAX).contains(&bytes.len()) && !bytes.contains(&0);
        fits.then(|| Self(bytes.to_vec()))
    }

    /// The first line of the file, without its line end.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub(crate) fn first_line(path: &Path) -> Result<Self, Unfit> {
        Self::read(&File::open(path)?)
    }

    /// The same of a file that nobody but its owner, who is us or root, can read or write.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub(crate) fn first_line_of_own(path: &Path) -> Result<Self, Unfit> {
        // A pipe that nobody writes to would hold us up.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let kept_by_systemd = is_below(path, std::env::var_os(CREDENTIALS).as_deref());
        match exposure(&file.metadata()?, rustix::process::geteuid().as_raw()) {
            Some(exposed) if !kept_by_systemd => Err(Unfit::Is(exposed)),
            _ => Self::read(&file),
        }
    }

    fn read(file: &File) -> Result<Self, Unfit> {
        let mut bytes = Vec::new();
        // A line longer than is allowed is all that has to be seen of a file without end.
        file.take(PASSPHRASE_BYTES_MAX as u64 + 2).read_to_end(&mut bytes)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line)).ok_or_else(|| {
            let limits = format!("1 to {PASSPHRASE_BYTES_MAX} bytes, none of them zero");
            Unfit::Is(format!("its first line has to have {limits}"))
        })
    }

    /// The bytes, for whoever sends or compares them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn is_below(path: &Path, folder: Option<&OsStr>) -> bool {
    folder.is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

/// What is wrong with who can read or write such a file, if we are user `us`.
fn exposure(file: &Metadata, us: u32) -> Option<String> {
    let mode = file.mode() & 0o7777;
    if !file.is_file() {
        Some("it is no regular file".to_owned())
    } else if mode & 0o077 != 0 {
        Some(format!("its mode {mode:04o} lets others than its owner in; chmod 600 closes it"))
    } else if file.uid() != us && file.uid() != 0 {
        Some(format!("it belongs to user {}, and we are user {us}", file.uid()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_prints_it() {
        let canary = Passphrase::new(b"canary").expect("it can be sent");
        assert_eq!((format!("{canary:?}"), canary.bytes()), ("Passphrase(..)".to_owned(), &b"canary"[..]));
    }

    #[test]
    fn a_netserver_takes_it_from_a_file_of_its_own_alone() {
        let path = std::env::temp_dir().join(format!("ringperf-own-{}", std::process::id()));
        std::fs::write(&path, "sesame\n").expect("the temporary folder is writable");
        for (mode, opens) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("it is ours");
            match Passphrase::first_line_of_own(&path) {
                Ok(passphrase) => assert!(opens && passphrase.bytes() == b"sesame", "{mode:o}"),
                Err(Unfit::Is(reason)) => assert!(!opens && reason.contains("chmod 600"), "{reason}"),
                Err(Unfit::Io(error)) => panic!("{error}"),
            }
        }
        let file = std::fs::metadata(&path).expect("it is there");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
        let closed = std::fs::metadata(&path).expect("it is there");
        assert!(exposure(&file, file.uid()).is_some() && exposure(&closed, closed.uid()).is_none());
        let stranger = exposure(&closed, closed.uid() + 1);
        assert_eq!(stranger.is_none(), closed.uid() == 0, "root's files are as good as our own");
        std::fs::remove_file(&path).expect("it was just written");
        let device = Passphrase::first_line_of_own(Path::new("/dev/zero"));
        assert!(matches!(device, Err(Unfit::Is(reason)) if reason.contains("regular file")));
    }

    #[test]
    fn what_systemd_keeps_for_us_is_below_its_folder() {
        let path = Path::new("/run/credentials/ringperf/passphrase");
        assert!(is_below(path, Some(OsStr::new("/run/credentials/ringperf"))));
        for folder in [None, Some(""), Some("/run/credentials/other")] {
            assert!(!is_below(path, folder.map(OsStr::new)));
        }
    }
}

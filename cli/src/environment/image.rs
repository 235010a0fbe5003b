//! The image of a container: this very program and what its loader needs, `FROM scratch`.
//!
//! Needs no registry and no other image. An image is named by what is in it, and used again where it is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::docker;
use crate::error::{Class, Failure};

/// The running program, also where its file has been replaced since.
const PROGRAM: &str = "/proc/self/exe";

/// What the images are called.
pub(super) const REPOSITORY: &str = "ringperf";

/// Where the program is in an image.
const INSIDE: &str = "ringperf";

const TRIED: &str = "make an image of this program";

/// An image that the daemon has.
pub(super) struct Image {
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) id: String,
    /// Its size in bytes.
    pub(super) bytes: Option<u64>,
    /// Libraries that are in it beside the program; none of one that is static.
    pub(super) libraries: Vec<PathBuf>,
}

/// The image of this program, built unless it is there.
///
/// # Errors
/// ENV where the program cannot be read or Docker does not build it.
pub(super) fn ready() -> Result<Image, Failure> {
    let failed =
        |error: io::Error| Failure::io(Class::Environment, TRIED, &error).setting("/proc, and TMPDIR");
    let program = fs::read(PROGRAM).map_err(failed)?;
    let libraries = match interpreter(&program) {
        Some(loader) => libraries(&loader)?,
        None => Vec::new(),
    };
    let mut hash = Sha256::new();
    hash.update(&program);
    for library in &libraries {
        hash.update(library.as_os_str().as_encoded_bytes());
        hash.update(fs::read(library).map_err(failed)?);
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{REPOSITORY}:{digest}");
    if let Some(image) = found(&name, &libraries)? {
        return Ok(image);
    }
    let context = Context::new(&program, &libraries).map_err(failed)?;
    let folder = context.0.display().to_string();
    docker::must(&["build", "--quiet", "--tag", &name, &folder], docker::BUILDING, TRIED)?;
    found(&name, &libraries)?.ok_or_else(|| {
        Failure::new(Class::Environment, TRIED, "docker built it and does not have it").next("docker images")
    })
}

/// The image, if the daemon has it.
fn found(name: &str, libraries: &[PathBuf]) -> Result<Option<Image>, Failure> {
    let printed = docker::call(&["image", "inspect", name], docker::PATIENCE)?;
    if !printed.well {
        // "No such image" is an answer; all else is not.
        return if printed.err.contains("No such image") {
            Ok(None)
        } else {
            Err(docker::refusal(TRIED, &printed))
        };
    }
    let images: Vec<Json> = serde_json::from_str(&printed.out).map_err(|error| {
        Failure::new(Class::Environment, TRIED, format!("docker printed what is not understood: {error}"))
            .setting("the docker on PATH")
            .next(format!("docker image inspect {name}"))
    })?;
    Ok(images.first().map(|image| Image {
        name: name.to_owned(),
        id: image["Id"].as_str().unwrap_or_default().to_owned(),
        bytes: image["Size"].as_u64(),
        libraries: libraries.to_vec(),
    }))
}

/// The loader that an ELF program names; `None` of one that is static. Layout: elf(5), 64 bits, of this
/// machine's byte order.
fn interpreter(program: &[u8]) -> Option<PathBuf> {
    let part = |at: usize, length: usize| program.get(at..at.checked_add(length)?);
    let word = |at: usize| Some(u64::from_ne_bytes(part(at, 8)?.try_into().ok()?) as usize);
    let half = |at: usize| Some(usize::from(u16::from_ne_bytes(part(at, 2)?.try_into().ok()?)));
    program.starts_with(b"\x7fELF\x02").then_some(())?;
    let (table, size, count) = (word(32)?, half(54)?, half(56)?);
    (0..count).find_map(|index| {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        let kind = u32::from_ne_bytes(part(entry, 4)?.try_into().ok()?);
        // PT_INTERP
        (kind == 3).then_some(())?;
        let path = part(word(entry.checked_add(8)?)?, word(entry.checked_add(32)?)?)?;
        let path = std::str::from_utf8(path).ok()?.trim_end_matches('\0');
        Some(PathBuf::from(path))
    })
}

/// The loader, and the files that it loads for this program, as it tells itself.
fn libraries(loader: &Path) -> Result<Vec<PathBuf>, Failure> {
    // By our number: to the loader, /proc/self is itself.
    let program = format!("/proc/{}/exe", std::process::id());
    let output = std::process::Command::new(loader).arg("--list").arg(program).output();
    let output = output.map_err(|error| {
        Failure::io(Class::Environment, TRIED, &error).setting(format!("the loader {}", loader.display()))
    })?;
    let mut files = vec![loader.to_owned()];
    for file in listed(&String::from_utf8_lossy(&output.stdout)) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    Ok(files)
}

/// Paths in lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)`.
fn listed(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_once(" => "))
        .filter_map(|(_, rest)| rest.split(" (0x").next())
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// A folder that an image is built from, gone with its handle.
struct Context(PathBuf);

impl Context {
    fn new(program: &[u8], libraries: &[PathBuf]) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("ringperf-image-{}", std::process::id()));
        // One of a process of that number that was killed.
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        let context = Self(folder);
        fs::write(root.join(INSIDE), program)?;
        executable(&root.join(INSIDE))?;
        for library in libraries {
            let inside = root.join(library.strip_prefix("/").unwrap_or(library));
            if let Some(parent) = inside.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(library, &inside)?;
            executable(&inside)?;
        }
        let recipe =
            format!("FROM scratch\nCOPY root /\nLABEL ringperf.image=1\nENTRYPOINT [\"/{INSIDE}\"]\n");
        fs::write(context.0.join("Dockerfile"), recipe)?;
        Ok(context)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // What is left is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_tells_what_it_loads() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n\
                    \tlibm.so.6 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        assert_eq!(listed(text), [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6")]);
    }

    #[test]
    fn this_program_and_its_loader_are_found() {
        let program = fs::read(PROGRAM).expect("is there");
        if let Some(loader) = interpreter(&program) {
            let files = libraries(&loader).expect("it lists them");
            assert!(files.len() > 1 && files.iter().all(|file| file.exists()), "{files:?}");
        }
    }

    #[test]
    fn what_is_no_program_has_no_loader() {
        assert_eq!(interpreter(b""), None);
        assert_eq!(interpreter(b"\x7fELF\x02 and no more"), None);
        let mut cut = fs::read(PROGRAM).expect("is there");
        cut.truncate(70);
        assert_eq!(interpreter(&cut), None);
        // A table that lies anywhere.
        let mut wild = vec![0xff; 128];
        wild[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!(interpreter(&wild), None);
    }
}

//! The image of a container: the running program and the libraries it is loaded with, and nothing else.
//!
//! Built from an empty one, so that no registry is needed and what runs in the container is what runs here.
//! Its tag is a hash of its content: the same program makes an image once.

use std::collections::BTreeSet;
use std::fs;
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::docker::{self, Patience};
use crate::error::{Class, Failure};

/// The running program, also where its file has been replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Where it is in the image.
const PROGRAM: &str = "/ringperf";

/// Label of our images: the hash again, so that a tag of somebody else's is not taken for ours.
const LABEL: &str = "ringperf.image";

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its tag.
    pub(crate) name: String,
    /// Docker's id of it.
    pub(crate) id: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Libraries in it; none where the program is static.
    pub(crate) libraries: Vec<PathBuf>,
}

impl Image {
    /// What a reader of results has to know.
    pub(crate) fn facts(&self) -> Json {
        json!({
            "name": self.name,
            "id": self.id,
            "size_bytes": self.bytes,
            "program": if self.libraries.is_empty() { "static" } else { "dynamic" },
            "libraries": self.libraries,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Size")]
    bytes: u64,
    #[serde(rename = "Config")]
    config: Option<Config>,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "Labels")]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// The image of the running program; built where it is not there yet.
///
/// # Errors
/// ENV where the program cannot be read, a library of it is missing, or docker does not build it.
pub(crate) fn ensure() -> Result<Image, Failure> {
    let tried = "make an image of the running program";
    let failed = |error: &io::Error| {
        Failure::io(Class::Environment, tried, error)
            .setting("the rights to the program and its libraries, and TMPDIR and its space")
            .next("df -h \"${TMPDIR:-/tmp}\"; ldd \"$(command -v ringperf)\"")
    };
    let program = fs::read(THIS_PROGRAM).map_err(|error| failed(&error))?;
    let libraries = match interpreter(&program) {
        None => Vec::new(),
        Some(loader) => libraries(&loader)?,
    };
    let mut files = vec![(PathBuf::from(PROGRAM), program)];
    for library in &libraries {
        files.push((library.clone(), fs::read(library).map_err(|error| failed(&error))?));
    }
    let dockerfile = dockerfile(&libraries);
    let hash = hash(&dockerfile, &files);
    let name = format!("ringperf:{hash}");
    let found = match inspect(&name, &hash)? {
        Some(found) => found,
        None => {
            build(&name, &hash, &dockerfile, &files, &failed)?;
            inspect(&name, &hash)?.ok_or_else(|| {
                Failure::new(Class::Environment, tried, "docker has built it, and does not have it")
                    .setting("the builder that docker uses (docker buildx ls)")
                    .next(format!("docker image inspect {name}"))
            })?
        }
    };
    Ok(Image { name, id: found.id, bytes: found.bytes, libraries })
}

/// One of our images, and what came of removing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    /// Its tag, or its id where it has none.
    pub(crate) name: String,
    /// Docker's id of it.
    pub(crate) id: String,
    /// It is gone. One that a container is made of stays.
    pub(crate) removed: bool,
}

/// An image that carries our label.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Repository")]
    repository: String,
    #[serde(rename = "Tag")]
    tag: String,
}

impl Listed {
    fn name(&self) -> String {
        let untagged = [&self.repository, &self.tag].iter().any(|part| part.is_empty() || *part == "<none>");
        if untagged { self.id.clone() } else { format!("{}:{}", self.repository, self.tag) }
    }
}

/// Our images; where they may be removed, those that no container is made of are.
///
/// # Errors
/// ENV where docker does not list them, or does not remove one for another reason.
pub(crate) fn unused(remove: bool) -> Result<Vec<Left>, Failure> {
    let tried = "list images";
    let filter = format!("label={LABEL}");
    let format = "{\"ID\":{{json .ID}},\"Repository\":{{json .Repository}},\"Tag\":{{json .Tag}}}";
    let words = ["image", "ls", "--no-trunc", "--filter", &filter, "--format", format];
    let answer = docker::call(tried, &words, Patience::Ask)?;
    let mut images = Vec::new();
    for line in answer.out.lines().filter(|line| !line.is_empty()) {
        let listed: Listed = docker::parse(tried, &words, line)?;
        let name = listed.name();
        // Without --force, which would take it from under a container.
        let gone = || docker::call("remove the image", &["image", "rm", &name], Patience::Run);
        let removed = match remove.then(gone).transpose() {
            Ok(done) => done.is_some(),
            Err(failure) if failure.to_string().contains("conflict: unable to") => false,
            // Another gc was faster.
            Err(failure) if failure.to_string().contains("No such image") => continue,
            Err(failure) => return Err(failure),
        };
        images.push(Left { name, id: listed.id, removed });
    }
    Ok(images)
}

/// What docker has under this name, if it is what we have put there.
fn inspect(name: &str, hash: &str) -> Result<Option<Inspected>, Failure> {
    // A list of ids is empty where there is none; inspect's complaint would have to be told from others.
    let tried = "look for the image";
    let ids = docker::call(tried, &["image", "ls", "--quiet", "--no-trunc", name], Patience::Ask)?.out;
    let Some(id) = docker::last_line(&ids) else { return Ok(None) };
    let found: Vec<Inspected> = docker::json(tried, &["image", "inspect", id])?;
    let ours = |found: &Inspected| {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        labels.and_then(|labels| labels.get(LABEL)).is_some_and(|label| label == hash)
    };
    Ok(found.into_iter().find(ours))
}

fn build(
    name: &str,
    hash: &str,
    dockerfile: &str,
    files: &[(PathBuf, Vec<u8>)],
    failed: &dyn Fn(&io::Error) -> Failure,
) -> Result<(), Failure> {
    let context = Context::new(dockerfile, files).map_err(|error| failed(&error))?;
    let (label, folder) = (format!("{LABEL}={hash}"), context.0.display().to_string());
    let words = ["build", "--quiet", "--network", "none", "--label", &label, "--tag", name, &folder];
    docker::call("build the image", &words, Patience::Build).map(drop)
}

/// The loader looks for libraries where this system's loader does, whose list of folders is not in the image.
fn dockerfile(libraries: &[PathBuf]) -> String {
    let folders: BTreeSet<&str> = libraries.iter().filter_map(|file| file.parent()?.to_str()).collect();
    let folders: Vec<&str> = folders.into_iter().collect();
    let path = match folders.as_slice() {
        [] => String::new(),
        folders => format!("ENV LD_LIBRARY_PATH={}\n", folders.join(":")),
    };
    format!("FROM scratch\nCOPY root/ /\n{path}ENTRYPOINT [\"{PROGRAM}\"]\n")
}

/// A folder for docker to build from; removed when dropped.
struct Context(PathBuf);

impl Context {
    fn new(dockerfile: &str, files: &[(PathBuf, Vec<u8>)]) -> io::Result<Self> {
        let nanoseconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
        let folder = format!("ringperf-image-{}-{nanoseconds}", std::process::id());
        let context = Self(std::env::temp_dir().join(folder));
        fs::create_dir(&context.0)?;
        fs::write(context.0.join("Dockerfile"), dockerfile)?;
        for (path, bytes) in files {
            let inside = context.0.join("root").join(path.strip_prefix("/").unwrap_or(path));
            fs::create_dir_all(inside.parent().unwrap_or(&context.0))?;
            fs::write(&inside, bytes)?;
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
        }
        Ok(context)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// 128 bits of the content, in hex. The hasher may change between releases of std; the one that is used is
/// part of the content.
fn hash(dockerfile: &str, files: &[(PathBuf, Vec<u8>)]) -> String {
    let half = |salt: u8| {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(dockerfile.as_bytes());
        for (path, bytes) in files {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write_u8(0);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

/// The loader that a program names (PT_INTERP of its ELF header); none where it is static.
fn interpreter(program: &[u8]) -> Option<PathBuf> {
    let little = |at: usize, bytes: usize| -> Option<usize> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        let number = field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).ok()
    };
    // Of 64 bits and little-endian, as every machine that io_uring programs are built for here.
    if program.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let (table, size, count) = (little(32, 8)?, little(54, 2)?, little(56, 2)?);
    const PT_INTERP: usize = 3;
    let header = (0..count)
        .filter_map(|index| table.checked_add(index.checked_mul(size)?))
        .find(|header| little(*header, 4) == Some(PT_INTERP))?;
    let (offset, bytes) = (little(header + 8, 8)?, little(header + 32, 8)?);
    let path = program.get(offset..offset.checked_add(bytes)?)?;
    let path = path.split(|byte| *byte == 0).next()?;
    Some(PathBuf::from(String::from_utf8(path.to_vec()).ok()?))
}

/// Libraries that the loader would load the running program with, the loader among them.
fn libraries(loader: &Path) -> Result<Vec<PathBuf>, Failure> {
    let tried = "find the libraries of the running program";
    let next = format!("{} --list \"$(command -v ringperf)\"", loader.display());
    // By its number: to the loader /proc/self is the loader.
    let program = format!("/proc/{}/exe", std::process::id());
    #[expect(clippy::disallowed_methods, reason = "the loader reads its own files and ends")]
    let output =
        Command::new(loader).args(["--list", &program]).stdin(Stdio::null()).output().map_err(|error| {
            Failure::io(Class::Environment, tried, &error)
                .setting("the loader that the program names")
                .next(next.as_str())
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = if output.status.success() { listed(&text) } else { Err("the loader lists none".to_owned()) };
    let mut found: BTreeSet<PathBuf> = found.map_err(|cause| {
        Failure::new(Class::Environment, tried, cause)
            .setting("whether the program's libraries are installed")
            .next(next.as_str())
    })?;
    found.insert(loader.to_owned());
    Ok(found.into_iter().collect())
}

/// The files in a loader's list. The kernel's own (vdso) has none.
fn listed(text: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut files = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place.starts_with("not found") {
            return Err(format!("{name} is not found"));
        }
        let file = place.rsplit_once(" (0x").map_or(place, |(file, _)| file).trim();
        if file.starts_with('/') {
            files.insert(PathBuf::from(file));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_goes_by_its_id() {
        let named = |text: &str| serde_json::from_str::<Listed>(text).expect("the form is docker's").name();
        assert_eq!(named(r#"{"ID":"sha256:1","Repository":"ringperf","Tag":"ab"}"#), "ringperf:ab");
        assert_eq!(named(r#"{"ID":"sha256:1","Repository":"<none>","Tag":"<none>"}"#), "sha256:1");
    }

    #[test]
    fn the_loaders_list_is_read() {
        let list = "\tlinux-vdso.so.1 (0x00007f554088b000)\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f5540779000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f553fa1e000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f554088d000)\n";
        let files: Vec<PathBuf> = listed(list).expect("all are there").into_iter().collect();
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        assert_eq!(listed("\tlibx.so.1 => not found\n"), Err("libx.so.1 is not found".to_owned()));
    }

    #[test]
    fn a_program_is_static_or_names_its_loader() {
        let mut program = vec![0u8; 200];
        program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        program[32] = 64;
        program[54] = 56;
        program[56] = 1;
        // PT_LOAD, then PT_INTERP at offset 128 with 8 bytes.
        program[64] = 1;
        assert_eq!(interpreter(&program), None);
        program[64] = 3;
        program[72] = 128;
        program[96] = 8;
        program[128..136].copy_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&program), Some(PathBuf::from("/lib/ld")));
        program[72] = 255;
        assert_eq!(interpreter(&program), None);
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn this_program_has_what_its_loader_names() {
        let program = fs::read(THIS_PROGRAM).expect("it runs");
        if let Some(loader) = interpreter(&program) {
            let files = libraries(&loader).expect("it was loaded with them");
            assert!(files.contains(&loader));
            assert!(files.iter().all(|file| file.is_file()), "{files:?}");
        }
    }

    #[test]
    fn the_hash_is_of_all_there_is() {
        let files = |text: &str| vec![(PathBuf::from("/a"), text.as_bytes().to_vec())];
        let one = hash("FROM", &files("x"));
        assert_eq!(one, hash("FROM", &files("x")));
        assert_eq!(one.len(), 32);
        assert_ne!(one, hash("FROM", &files("y")));
        assert_ne!(one, hash("from", &files("x")));
    }

    #[test]
    fn libraries_are_looked_for_where_they_are_put() {
        assert_eq!(dockerfile(&[]), "FROM scratch\nCOPY root/ /\nENTRYPOINT [\"/ringperf\"]\n");
        let text = dockerfile(&["/lib/x/a.so", "/lib/x/b.so", "/lib64/ld.so"].map(PathBuf::from));
        assert!(text.contains("ENV LD_LIBRARY_PATH=/lib/x:/lib64\n"), "{text}");
    }
}

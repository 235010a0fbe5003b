//! `ringperf report` over real sweeps: the file that it leaves, and what a browser makes of it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::{RINGPERF, run, skip};

const LIMIT: Duration = Duration::from_secs(120);

/// The one that others are set against, and one that would be markup, were it not escaped.
const BASE: &str = "plain";
const HOSTILE: &str = "<b>\"&";

/// Width of the browser's window in pixels, and a height that has room for the whole page.
const WINDOW: (u32, u32) = (1000, 5200);

/// A folder of this program's own, below the target folder, where it is kept.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    folder
}

fn path(name: &str) -> String {
    folder().join(name).to_str().expect("its name is text").to_owned()
}

/// A store with two sweeps of each of two tests, made once for all tests.
fn store() -> &'static str {
    static STORE: OnceLock<String> = OnceLock::new();
    STORE.get_or_init(|| {
        let store = path("results.db");
        // What an earlier run left would be compared, too.
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{store}{ending}"));
        }
        let grids =
            [("tcp-stream", "socket-buffer=16K,64K,256K", "2"), ("udp-stream", "message=64,256,1K", "1")];
        for tag in [BASE, HOSTILE] {
            for (test, vary, repeat) in grids {
                let words = ["sweep", test, "--vary", vary, "--time", "1", "--repeat", repeat];
                let out = ringperf(&[&words[..], &["--tag", tag, "--store", &store]].concat());
                assert!(out.0, "{}", out.2);
            }
        }
        store
    })
}

/// Whether it ended well, and what it wrote.
fn ringperf(words: &[&str]) -> (bool, String, String) {
    let out = run(Path::new(RINGPERF), words, LIMIT);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("is text");
    (out.status.success(), text(out.stdout), text(out.stderr))
}

/// Makes the report of the store in a file of this name, and returns its text and what was told of it.
fn report(name: &str) -> (String, Json) {
    let file = path(name);
    let words = ["report", "--store", store(), BASE, HOSTILE, "-o", &file, "--json"];
    let (done, stdout, stderr) = ringperf(&words);
    assert!(done, "{stdout}{stderr}");
    let told: Json = serde_json::from_str(&stdout).expect("is one object");
    assert_eq!(told["output"], file.as_str());
    (std::fs::read_to_string(&file).expect("is there"), told)
}

#[test]
fn the_page_has_every_family_and_names_what_made_it() {
    let (html, told) = report("page.html");
    let count = |text: &str| html.matches(text).count();
    assert_eq!(told["families"], count("<section id=\"family-"));
    // Goodput has three points of each sweep at least.
    assert!(told["points"].as_u64() >= Some(12), "{told}");
    for heading in ["tcp_stream: goodput over socket-buffer", "udp_stream: okay rate over message"] {
        assert!(html.contains(heading), "{heading}");
    }
    assert!(html.contains("--vary socket-buffer=16K,64K,256K") && html.contains("ringperf report --store"));
    assert!(!html.contains(HOSTILE) && html.contains("&#60;b&#62;&#34;&#38;"));
    let beside = std::fs::read_dir(folder()).expect("is there").flatten();
    let left = beside.filter(|file| file.file_name().to_string_lossy().contains(".html.new-"));
    assert_eq!(left.count(), 0, "a temporary file is left");
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_of_the_environment() {
    let file = path("no/such/folder.html");
    let words = ["report", "--store", store(), BASE, HOSTILE, "-o", &file, "--json"];
    let out = run(Path::new(RINGPERF), &words, LIMIT);
    let told: Json = serde_json::from_slice(&out.stdout).expect("is one object");
    assert_eq!((out.status.code(), &told["error"]["class"]), (Some(3), &Json::from("ENV")), "{told}");
    assert_eq!(told["error"]["errno"], "ENOENT");
}

#[test]
fn a_browser_shows_every_point_and_has_nothing_to_complain_of() {
    let Some(chromium) = chromium("a_browser_shows_every_point_and_has_nothing_to_complain_of") else {
        return;
    };
    let (html, told) = report("shown.html");
    let browse = |word: &str, file: &str| {
        let (width, height) = WINDOW;
        let window = format!("--window-size={width},{height}");
        let profile = format!("--user-data-dir={}", path("profile"));
        let address = format!("file://{file}");
        let always = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"];
        let then =
            ["--enable-logging=stderr", "--virtual-time-budget=5000", &profile, &window, word, &address];
        let out = run(&chromium, &[&always[..], &then].concat(), LIMIT);
        let log = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{log}");
        (String::from_utf8_lossy(&out.stdout).into_owned(), log)
    };
    let (dom, log) = browse("--dump-dom", &path("shown.html"));
    assert_eq!(complaints(&log), Vec::<&str>::new());
    let drawn = figures(&dom);
    assert!(drawn.iter().any(|figure| figure.kind == "curves"), "{drawn:?}");
    assert!(drawn.iter().any(|figure| figure.kind == "normalised"), "{drawn:?}");
    assert_eq!(drawn.len(), html.matches("<figure").count());
    // Over several values of a parameter, as all of these are, every point is in the plot of its curves.
    let plotted = drawn.iter().filter(|figure| figure.kind == "curves").map(|figure| figure.circles);
    assert_eq!(told["points"], plotted.sum::<usize>());
    for figure in &drawn {
        assert_eq!((figure.points, figure.inside), (figure.circles, figure.circles), "{figure:?}");
        assert!(figure.circles >= 3, "{figure:?}");
    }

    let picture = path("shown.png");
    browse(&format!("--screenshot={picture}"), &path("shown.html"));
    std::fs::write(path("blank.html"), "<!DOCTYPE html><title>blank</title>").expect("there is room");
    browse(&format!("--screenshot={}", path("blank.png")), &path("blank.html"));
    let [page, blank] = [picture, path("blank.png")].map(|file| std::fs::read(file).expect("was taken"));
    assert_eq!((size(&page), size(&blank)), (WINDOW, WINDOW));
    assert!(page.len() > 4 * blank.len(), "{} bytes, {} of a blank one", page.len(), blank.len());

    // What the log is read for has to show there, or its silence would mean nothing.
    let image = "<img src=\"http://127.0.0.1:9/x.png\"></body>";
    std::fs::write(path("leaky.html"), html.replace("</body>", image)).expect("there is room");
    let (_, log) = browse("--dump-dom", &path("leaky.html"));
    assert!(complaints(&log).iter().any(|line| line.contains("Content Security Policy")), "{log}");
}

/// The browser on the path.
fn chromium(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.is_file());
    if found.is_none() {
        skip(test, "chromium", "no chromium on the path; Debian's package of that name has it");
    }
    found
}

/// Lines of the browser's log that are about the page. Those about a missing desktop are not.
fn complaints(log: &str) -> Vec<&str> {
    let about = ["CONSOLE", "Content Security Policy", "net_error", "ERR_"];
    log.lines().filter(|line| about.iter().any(|word| line.contains(word))).collect()
}

/// A plot as the browser has it.
#[derive(Debug)]
struct Figure {
    kind: String,
    /// As it says.
    points: usize,
    circles: usize,
    /// Circles within the plot.
    inside: usize,
}

fn figures(dom: &str) -> Vec<Figure> {
    let attribute = |text: &str, name: &str| {
        let rest = text.split(&format!(" {name}=\"")).nth(1).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let number = |text: &str, name: &str| attribute(text, name).parse::<f64>().expect("a number");
    let figure = |text: &str| {
        let text = text.split("</figure>").next().unwrap_or_default();
        let plot = text.split("<svg role=\"img\"").nth(1).expect("a plot");
        let corners: Vec<f64> =
            attribute(plot, "viewBox").split(' ').map(|n| n.parse().expect("a number")).collect();
        let circles: Vec<&str> = text.split("<circle").skip(1).collect();
        let is_inside = |circle: &&&str| {
            (0.0..=corners[2]).contains(&number(circle, "cx"))
                && (0.0..=corners[3]).contains(&number(circle, "cy"))
        };
        Figure {
            kind: attribute(text, "data-kind"),
            points: attribute(text, "data-points").parse().expect("a number"),
            circles: circles.len(),
            inside: circles.iter().filter(is_inside).count(),
        }
    };
    dom.split("<figure").skip(1).map(figure).collect()
}

/// Width and height of a PNG, from its first chunk (RFC 2083, 4.1.1).
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

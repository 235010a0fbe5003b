//! `ringperf man`: manual pages in roff, made from what reads the command lines.
//!
//! The pages of ringperf and its commands are clap's; those of netperf and netserver, which read their
//! words themselves, are made of their option tables. Nothing is formatted or installed: `man -l -` shows a
//! page.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::args::NETSERVER_OPTIONS;
use crate::error::{Class, Failure};

mod netperf;

/// What stands at the edges of every page: when its prose was last gone through, of what it is a part.
const DATE: &str = "2026-11-26";
const SOURCE: &str = concat!("ringperf ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "ringperf manual";

/// Writes the page of this name to standard output; failures go to standard error.
pub(crate) fn main(ringperf: Command, name: &str) -> ExitCode {
    let pages = match pages(ringperf) {
        Ok(pages) => pages,
        Err(error) => return fail(&Failure::io(Class::Bug, "write a manual page", &error)),
    };
    let Some((_, page)) = pages.iter().find(|(page, _)| page == name) else {
        let names: Vec<&str> = pages.iter().map(|(page, _)| page.as_str()).collect();
        return fail(
            &Failure::new(Class::Usage, format!("show the manual page '{name}'"), "there is none")
                .setting("PAGE")
                .next(format!("name one of {}", names.join(", "))),
        );
    };
    match io::stdout().lock().write_all(page) {
        Ok(()) => ExitCode::SUCCESS,
        // A pager that was left early has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&Failure::io(Class::Environment, "write the manual page", &error)),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::from(failure.class().exit_code())
}

/// All pages by their names: the programs, then ringperf's commands.
fn pages(mut ringperf: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    ringperf.build();
    let mut pages = vec![
        ("netperf".to_owned(), netperf::page().render().into_bytes()),
        ("netserver".to_owned(), netserver().render().into_bytes()),
    ];
    add_commands(&ringperf, &mut pages)?;
    Ok(pages)
}

/// The page of `command`, and those of the commands below it.
fn add_commands(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(SOURCE)
        .manual(MANUAL)
        .render(&mut page)?;
    pages.push((name, page));
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    for below in below {
        add_commands(below, pages)?;
    }
    Ok(())
}

fn netserver() -> Roff {
    let mut page = opening("netserver", "serve tests to netperf and ringperf");
    section(&mut page, "SYNOPSIS");
    page.text([bold("netserver"), roman(" ["), italic("options"), roman("]")]);
    section(&mut page, "DESCRIPTION");
    page.text([roman(
        "Serves tests to netperf 2.7 and ringperf clients over netperf's control channel. Without -D it \
         goes to the background. With none of -D, -f, -L and -p, and a connected socket as standard input, \
         it serves that one connection, for inetd.",
    )]);
    section(&mut page, "OPTIONS");
    for (option, meaning) in NETSERVER_OPTIONS {
        let (name, argument) = option.split_once(' ').unwrap_or((option, ""));
        let mut head = vec![bold(name)];
        if !argument.is_empty() {
            head.extend([roman(" "), italic(argument)]);
        }
        entry(&mut page, head, meaning);
    }
    section(&mut page, "EXIT STATUS");
    entry(
        &mut page,
        vec![bold("0")],
        "ended by a signal, started in the background, -V, --help, or inetd's end",
    );
    entry(&mut page, vec![bold("1")], "-h, an option that makes no sense, or nothing to listen on");
    section(&mut page, "SEE ALSO");
    page.text([bold("netperf"), roman("(1), "), bold("ringperf"), roman("(1)")]);
    page
}

/// A page's head and its first section.
fn opening(name: &str, purpose: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [&*name.to_uppercase(), "1", DATE, SOURCE, MANUAL]);
    section(&mut page, "NAME");
    page.text([roman(format!("{name} - {purpose}"))]);
    page
}

fn section(page: &mut Roff, heading: &str) {
    page.control("SH", [heading]);
}

/// A paragraph that hangs below what it is about.
fn entry(page: &mut Roff, head: Vec<Inline>, meaning: &str) {
    page.control("TP", []);
    page.text(head);
    page.text([roman(meaning)]);
}

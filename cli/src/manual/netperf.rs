//! The page of netperf.

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{entry, opening, section};
use crate::netperf::{
    Argument, Described, OptionSet, PAIRS, TESTS, global_options, test_options, tests_with,
};

/// The whole page.
pub(super) fn page() -> Roff {
    let mut page = opening("netperf", "measure a network with a netserver at its other end");
    section(&mut page, "SYNOPSIS");
    page.text([
        bold("netperf"),
        roman(" ["),
        italic("options"),
        roman("] [-- "),
        italic("test options"),
        roman("]"),
    ]);
    section(&mut page, "DESCRIPTION");
    page.text([roman(
        "Takes the command line of netperf 2.7, talks to any netserver 2.6 or 2.7, prints what netperf \
         prints and ends with its exit codes.",
    )]);
    page.control("nf", []);
    for line in TESTS.lines().skip(1) {
        page.text([roman(line.trim_start())]);
    }
    page.control("fi", []);
    section(&mut page, "OPTIONS");
    options(&mut page, global_options());
    for set in [OptionSet::Omni, OptionSet::Sockets] {
        section(&mut page, &format!("OPTIONS OF {}", tests_with(set).replace(" and ", " AND ")));
        options(&mut page, test_options(set));
    }
    section(&mut page, "ARGUMENTS");
    page.text([roman(PAIRS.replace('\n', " ").trim_end())]);
    section(&mut page, "ENVIRONMENT");
    entry(
        &mut page,
        vec![bold("RINGPERF_RECORD")],
        "A file, to which each run adds its full record as a line of JSON, or a folder, in which each run \
         makes a file.",
    );
    entry(
        &mut page,
        vec![bold("RINGPERF_ENGINE")],
        "auto, uring, epoll or classic: how data is moved. classic makes one blocking call a message, as \
         netperf does.",
    );
    entry(
        &mut page,
        vec![bold("DUMP_TCP_INFO")],
        "With any value, figures of a TCP data connection go to standard error after each iteration.",
    );
    section(&mut page, "EXIT STATUS");
    for (status, meaning) in [
        ("0", "The test was made and reported, after a signal too; or -V."),
        ("1", "Usage, an unknown test, or a failure of a data connection."),
        ("255", "No host, no netserver, or an error that the netserver reported."),
    ] {
        entry(&mut page, vec![bold(status)], meaning);
    }
    section(&mut page, "SEE ALSO");
    page.text([bold("netserver"), roman("(1), "), bold("ringperf"), roman("(1)")]);
    page
}

fn options(page: &mut Roff, options: impl Iterator<Item = Described>) {
    for Described { letter, argument, first_half, meaning } in options {
        let mut head = vec![bold(format!("-{letter}"))];
        match argument {
            Argument::None => {}
            Argument::Required(name) => head.extend([roman(" "), italic(name)]),
            Argument::Digits(name) | Argument::Word(name) => {
                head.extend([roman(" ["), italic(name), roman("]")]);
            }
        }
        if first_half {
            head.push(roman(" *"));
        }
        entry(page, head, meaning);
    }
}

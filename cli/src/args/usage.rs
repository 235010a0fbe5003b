//! netserver's options as people read them: one table, for the usage text here and for the manual page.
//!
//! Reads no words. A test holds the table and the reading together.

/// Each option with its argument, and what it is good for.
pub(crate) const NETSERVER_OPTIONS: &[(&str, &str)] = &[
    ("-4", "listen on IPv4 only"),
    ("-6", "listen on IPv6; without -L, IPv4 clients get in too where net.ipv6.bindv6only is 0"),
    ("-D", "stay in the foreground"),
    ("-d", "log more; give it twice for everything"),
    ("-f", "serve one session at a time"),
    ("-h", "print this text"),
    ("-L host[,family]", "address to listen on; family is 4 or 6"),
    ("-N", "log errors only"),
    ("-n count", "accepted and ignored: CPUs are counted"),
    ("-p port", "control port (12865); 0 lets the kernel choose"),
    ("-v level", "accepted and ignored"),
    ("-V", "print the version of netperf this is compatible with"),
    ("-Z passphrase", "refuse sessions that do not open with this passphrase"),
    (
        "--allow LIST",
        "take sessions from these networks alone, with commas between: 192.0.2.0/24, 2001:db8::/32 or an \
         address; given again, the lists add up",
    ),
    (
        "--cores LIST",
        "pin data workers to these cores, in their order, unless the client asks for one: 0 or 0,2-3",
    ),
    ("--engine NAME", "auto, uring, epoll or classic: how data is moved (auto)"),
    ("--loopback", "listen on 127.0.0.1 and ::1, for data too; not with -L"),
    (
        "--max-duration TIME",
        "refuse longer tests, and end those without a time after it: 3600, 60m or 1h (no limit)",
    ),
    (
        "--max-rate RATE",
        "send no more bits a second in each session, and end tests of clients that send more: 250M, 2.5G \
         (no limit)",
    ),
    ("--max-sessions N", "sessions at once (256); the next client is told EBUSY"),
    ("--no-busy-poll", "have workers sleep, whatever clients wish for: one that polls takes a core whole"),
    ("--passphrase-file FILE", "the same as -Z, from the first line of a file that its owner alone can read"),
    ("--pid-file FILE", "write the number of the process that serves to this file, and remove it at the end"),
    (
        "--without LIST",
        "move data without these, with commas between: low-water (then the kernel wakes a receiver for every \
         segment, and leaves its buffer alone), bundles, multishot, buffer-ring, deferred-task-run, \
         registered-files, registered-buffers, minimum-wait, shared-segments",
    ),
    ("--help", "print this text on standard output"),
];

/// Where the meanings begin, and where lines end.
const INDENT: usize = 26;
const COLUMNS: usize = 79;

/// The usage text.
pub(crate) fn netserver_usage() -> String {
    let mut text =
        String::from("Usage: netserver [options]\n\nServes tests to netperf 2.7 and ringperf clients.\n\n");
    for (option, meaning) in NETSERVER_OPTIONS {
        let mut line = format!("  {option:<width$}", width = INDENT - 2);
        for word in meaning.split(' ') {
            if line.len() + word.len() > COLUMNS {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(INDENT);
            }
            line.push_str(word);
            line.push(' ');
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, NETSERVER_OPTIONS, netserver_usage};
    use crate::args::Netserver;

    /// Whether the reading knows an option, whatever it makes of it.
    fn is_known(option: &str) -> bool {
        match Netserver::parse([option.into()]) {
            Netserver::Usage(Some(complaint)) => {
                !complaint.contains("invalid option") && !complaint.contains("unrecognized option")
            }
            _ => true,
        }
    }

    #[test]
    fn table_and_reading_know_the_same_options() {
        let names: Vec<&str> =
            NETSERVER_OPTIONS.iter().filter_map(|(option, _)| option.split(' ').next()).collect();
        assert!(names.iter().all(|name| is_known(name)), "{names:?}");
        for letter in (0x21_u8..0x7f).map(char::from).filter(|letter| *letter != '-') {
            let option = format!("-{letter}");
            assert_eq!(is_known(&option), names.contains(&option.as_str()), "{option}");
        }
    }

    #[test]
    fn the_text_fits_a_terminal_and_names_every_option() {
        let text = netserver_usage();
        assert!(text.lines().all(|line| line.len() <= COLUMNS && line == line.trim_end()), "{text}");
        for (option, meaning) in NETSERVER_OPTIONS {
            let start = format!("  {option} ");
            assert_eq!(text.lines().filter(|line| line.starts_with(&start)).count(), 1, "{option}");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&format!("{option} {meaning}")), "{option}");
        }
    }
}

//! Which selectors are shown: what the word behind `-k`, `-o` and `-O` chooses, or netperf's default where
//! there is none.
//!
//! Reads at most one file, and only its beginning.

use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;

use super::render::Style;
use super::table::{END, NOTHING, SELECTORS, Selector, place};
use super::values::Direction;
use crate::netperf::say::{Ending, FAILED, REFUSED};

/// Blocks that are kept; more are ignored.
const BLOCKS: usize = 4;

/// Longest word of a selector file, in characters: netperf stops at the one behind it.
const WORD_CHARACTERS_MAX: usize = 80;

/// As much of a selector file as is read: four lines of every selector there is are far less.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The selectors that are of timed operations.
const LATENCY: RangeInclusive<usize> = place("MIN_LATENCY")..=place("STDDEV_LATENCY");

/// The selectors that are of congestion controls.
const CONGESTION_CONTROL: RangeInclusive<usize> = place("LOCAL_CONG_CONTROL")..=place("REMOTE_CONG_CONTROL");

/// What netperf shows where nobody chooses: first what depends on the direction, then what all have, then
/// what is added where CPU is measured.
const OF_SENDING: &[usize] = &[place("LSS_SIZE_END"), place("RSR_SIZE_END"), place("LOCAL_SEND_SIZE")];
const OF_RECEIVING: &[usize] = &[place("RSS_SIZE_END"), place("LSR_SIZE_END"), place("REMOTE_SEND_SIZE")];
const OF_TRANSACTIONS: &[usize] = &[
    place("LSS_SIZE_END"),
    place("LSR_SIZE_END"),
    place("RSR_SIZE_END"),
    place("RSS_SIZE_END"),
    place("REQUEST_SIZE"),
    place("RESPONSE_SIZE"),
];
const OF_ALL: RangeInclusive<usize> = place("ELAPSED_TIME")..=place("THROUGHPUT_UNITS");
const OF_CPU: [RangeInclusive<usize>; 5] = [
    place("LOCAL_CPU_UTIL")..=place("LOCAL_CPU_METHOD"),
    place("REMOTE_CPU_UTIL")..=place("REMOTE_CPU_METHOD"),
    place("LOCAL_SD")..=place("LOCAL_SD"),
    place("REMOTE_SD")..=place("REMOTE_SD"),
    place("SD_UNITS")..=place("SD_UNITS"),
];

/// A selector, or the place of a name that is none, which netperf keeps.
pub(super) type Entry = Option<&'static Selector>;

/// What is shown, block by block.
pub(crate) struct Selection {
    /// At most four; an empty one is not shown, but counts.
    pub(super) blocks: Vec<Vec<Entry>>,
    /// netperf looks for what has to be collected in lists, not in files.
    is_from_file: bool,
    unknown: Vec<String>,
}

impl Selection {
    /// What `word` chooses; without one the default of a test of this direction, with the columns for CPU if
    /// `cpu` is measured at either end. `style` decides how the names of all selectors are listed.
    ///
    /// # Errors
    /// What netperf says where that ends it: names that were asked for, a selector file that cannot be
    /// opened or that has a word too long in it.
    pub(crate) fn choose(
        word: Option<&str>,
        style: Style,
        direction: Direction,
        cpu: bool,
    ) -> Result<Self, Ending> {
        match word {
            None => Ok(Self::by_default(direction, cpu)),
            Some("?") => Err(Ending::new(FAILED).output(names(style))),
            Some(word) if word.eq_ignore_ascii_case("all") => Ok(Self::all()),
            Some(word) if word.contains([',', ';']) || by_name(word).is_some() => Ok(Self::listed(word)),
            Some(path) => Self::of_file(path),
        }
    }

    /// Whether values need the time of every operation.
    pub(crate) fn wants_latency(&self) -> bool {
        self.wants(&LATENCY)
    }

    /// Whether values need the names of the congestion controls.
    pub(crate) fn wants_congestion_control(&self) -> bool {
        self.wants(&CONGESTION_CONTROL)
    }

    /// The names in a list that are none. netperf passes over them in silence.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    fn wants(&self, places: &RangeInclusive<usize>) -> bool {
        let mut entries = self.blocks.iter().flatten().flatten();
        let wanted = &SELECTORS[places.clone()];
        !self.is_from_file && entries.any(|entry| wanted.iter().any(|one| std::ptr::eq(one, *entry)))
    }

    fn by_default(direction: Direction, cpu: bool) -> Self {
        let first = match direction {
            Direction::Send => OF_SENDING,
            Direction::Receive => OF_RECEIVING,
            Direction::Connect | Direction::ConnectSendReceive | Direction::SendReceive => OF_TRANSACTIONS,
        };
        let places = first.iter().copied().chain(OF_ALL);
        let of_cpu = OF_CPU.into_iter().flatten().filter(|_| cpu);
        let block = places.chain(of_cpu).map(|place| Some(&SELECTORS[place])).collect();
        Self { blocks: vec![block], is_from_file: false, unknown: Vec::new() }
    }

    fn all() -> Self {
        let block = |number: usize| {
            SELECTORS.iter().filter(|one| usize::from(one.block) == number).map(Some).collect()
        };
        Self { blocks: (1..=BLOCKS).map(block).collect(), is_from_file: false, unknown: Vec::new() }
    }

    /// Names with commas or blanks between them, blocks with semicolons.
    fn listed(list: &str) -> Self {
        let mut unknown = Vec::new();
        let mut entry = |name: &str| {
            let found = by_name(name);
            if found.is_none() {
                unknown.push(name.to_owned());
            }
            found
        };
        let mut block = |names: &str| {
            let names = names.split([',', ' ']).filter(|name| !name.is_empty());
            up_to_end(names.map(&mut entry))
        };
        let blocks = list.split(';').take(BLOCKS).map(&mut block).collect();
        Self { blocks, is_from_file: false, unknown }
    }

    fn of_file(path: &str) -> Result<Self, Ending> {
        let file = File::open(path).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            Ending::new(REFUSED)
                .output(format!("Could not open output selection file '{path}' errno {errno}\n"))
        })?;
        let mut text = Vec::new();
        // What cannot be read, as of a folder, is not there: netperf prints nothing then.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
        Self::of_text(&text)
    }

    /// What a file chooses that has this text.
    pub(super) fn of_text(text: &[u8]) -> Result<Self, Ending> {
        let block = |words: &Vec<String>| up_to_end(words.iter().map(|word| named(word)));
        let blocks = lines(text)?.iter().map(block).collect();
        Ok(Self { blocks, is_from_file: true, unknown: Vec::new() })
    }
}

fn up_to_end(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    entries.take_while(|entry| !entry.is_some_and(|one| std::ptr::eq(one, END))).collect()
}

fn by_name(name: &str) -> Entry {
    SELECTORS.iter().find(|one| one.name.eq_ignore_ascii_case(name))
}

/// What a word of a file stands for: a name, or a header with its lines joined by blanks.
fn named(word: &str) -> Entry {
    let is_header = |one: &Selector| {
        let header: Vec<&str> = one.header().collect();
        header.join(" ").eq_ignore_ascii_case(word)
    };
    let found = SELECTORS.iter().find(|one| one.name.eq_ignore_ascii_case(word) || is_header(one));
    Some(found.unwrap_or(NOTHING))
}

/// The words of the lines of a selector file that count, blanks included. What is not printable is passed
/// over, so that lines may end as in other systems.
///
/// # Errors
/// netperf's words for a word that is too long. It takes the line for the column there, and the column for
/// the line.
fn lines(text: &[u8]) -> Result<Vec<Vec<String>>, Ending> {
    let mut lines = Vec::new();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').take(BLOCKS).enumerate() {
        let mut words = Vec::new();
        let mut word = String::new();
        for (column, byte) in line.iter().enumerate() {
            if word.len() == WORD_CHARACTERS_MAX {
                let (line, column) = (number + 1, column + 1);
                return Err(Ending::new(REFUSED).output(format!(
                    "Output selection starting column {line} on line {column} is too long\n"
                )));
            }
            match byte {
                b',' | b'\n' => words.push(std::mem::take(&mut word)),
                b' '..=b'~' => word.push(char::from(*byte)),
                _ => {}
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        lines.push(words);
    }
    Ok(lines)
}

/// The names of all selectors.
fn names(style: Style) -> String {
    let names: Vec<&str> = SELECTORS.iter().map(|one| one.name).collect();
    let between = match style {
        Style::Csv | Style::KeyValue => ",",
        Style::Human => "\n",
    };
    names.join(between) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(word: &str) -> Selection {
        let chosen = Selection::choose(Some(word), Style::KeyValue, Direction::Send, false);
        chosen.unwrap_or_else(|ending| panic!("{word:?} ends it: {ending:?}"))
    }

    /// Names by block, `-` for one that is none.
    fn shown(selection: &Selection) -> Vec<String> {
        let name = |entry: &Entry| entry.map_or("-", |one| one.name);
        let block = |block: &Vec<Entry>| block.iter().map(name).collect::<Vec<_>>().join(" ");
        selection.blocks.iter().map(block).collect()
    }

    fn of_text(text: &str) -> Vec<String> {
        shown(&Selection::of_text(text.as_bytes()).expect("no word is too long"))
    }

    /// The lists are those of a stock netperf 2.7.0.
    #[test]
    fn without_a_word_the_direction_decides() {
        let default = |direction, cpu| shown(&Selection::by_default(direction, cpu)).concat();
        assert_eq!(
            default(Direction::Send, false),
            "LSS_SIZE_END RSR_SIZE_END LOCAL_SEND_SIZE ELAPSED_TIME THROUGHPUT THROUGHPUT_UNITS"
        );
        assert_eq!(
            default(Direction::Receive, false),
            "RSS_SIZE_END LSR_SIZE_END REMOTE_SEND_SIZE ELAPSED_TIME THROUGHPUT THROUGHPUT_UNITS"
        );
        let transactions = "LSS_SIZE_END LSR_SIZE_END RSR_SIZE_END RSS_SIZE_END REQUEST_SIZE RESPONSE_SIZE \
                            ELAPSED_TIME THROUGHPUT THROUGHPUT_UNITS";
        for direction in [Direction::SendReceive, Direction::ConnectSendReceive, Direction::Connect] {
            assert_eq!(default(direction, false), transactions);
        }
        assert_eq!(
            default(Direction::Connect, true),
            format!(
                "{transactions} LOCAL_CPU_UTIL LOCAL_CPU_PERCENT_USER LOCAL_CPU_PERCENT_SYSTEM \
                 LOCAL_CPU_PERCENT_IOWAIT LOCAL_CPU_PERCENT_IRQ LOCAL_CPU_PERCENT_SWINTR LOCAL_CPU_METHOD \
                 REMOTE_CPU_UTIL REMOTE_CPU_PERCENT_USER REMOTE_CPU_PERCENT_SYSTEM REMOTE_CPU_PERCENT_IOWAIT \
                 REMOTE_CPU_PERCENT_IRQ REMOTE_CPU_PERCENT_SWINTR REMOTE_CPU_METHOD LOCAL_SD REMOTE_SD \
                 SD_UNITS"
            )
        );
    }

    /// As a stock netperf 2.7.0 reads them.
    #[test]
    fn lists_are_cut_into_blocks_and_names() {
        let listed = |word| shown(&choose(word));
        assert_eq!(listed("protocol"), ["PROTOCOL"]);
        assert_eq!(listed("Protocol, direction;UUID,UUID"), ["PROTOCOL DIRECTION", "UUID UUID"]);
        assert_eq!(listed("PROTOCOL;;;DIRECTION;UUID"), ["PROTOCOL", "", "", "DIRECTION"]);
        assert_eq!(listed(",PROTOCOL,,"), ["PROTOCOL"]);
        assert_eq!(listed(";"), ["", ""]);
        assert_eq!(listed("PROTOCOL,OUTPUT_END,UUID;UUID"), ["PROTOCOL", "UUID"]);
        assert_eq!(listed("PROTOCOL,\tUUID,?,all"), ["PROTOCOL - - -"]);
        assert_eq!(choose("PROTOCOL,NONE;ALL,UUID").unknown(), ["NONE", "ALL"]);
        assert_eq!(choose("A;B;C;D;E").unknown(), ["A", "B", "C", "D"]);
    }

    #[test]
    fn all_is_everything_but_the_two_that_show_nothing() {
        let blocks = choose("All").blocks;
        assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [24, 29, 58, 62]);
        assert_eq!(blocks.iter().flatten().count() + 2, SELECTORS.len());
    }

    /// As a stock netperf 2.7.0 reads these files.
    #[test]
    fn files_have_a_block_a_line() {
        assert_eq!(of_text("PROTOCOL, DIRECTION\nuuid"), ["PROTOCOL OUTPUT_NONE", "UUID"]);
        assert_eq!(of_text("elapsed time (SEC),Elapsed  Time (sec)\n"), ["ELAPSED_TIME OUTPUT_NONE"]);
        assert_eq!(of_text("Remote OS Security Type\n"), ["REMOTE_SECURITY_TYPE_ID"]);
        assert_eq!(of_text("PROTOCOL\r\n\r\nDI\tRECTION\r\n"), ["PROTOCOL", "OUTPUT_NONE", "DIRECTION"]);
        assert_eq!(of_text("UUID\nUUID\nUUID\nUUID\nUUID\n"), ["UUID", "UUID", "UUID", "UUID"]);
        assert_eq!(
            of_text("UUID,,UUID,\n,UUID\n"),
            ["UUID OUTPUT_NONE UUID OUTPUT_NONE", "OUTPUT_NONE UUID"]
        );
        assert_eq!(of_text("UUID,"), ["UUID"]);
        assert_eq!(of_text("UUID\n "), ["UUID", "OUTPUT_NONE"]);
        assert_eq!(of_text("UUID\n\r"), ["UUID", ""]);
        assert_eq!(of_text("uuid;uuid\nall\n"), ["OUTPUT_NONE", "OUTPUT_NONE"]);
        assert_eq!(of_text("UUID,OUTPUT_END,UUID\nThis Is The End\n"), ["UUID", ""]);
        assert!(of_text("").is_empty());
    }

    /// As a stock netperf 2.7.0 words it.
    #[test]
    fn a_word_of_a_file_has_an_end() {
        let long = |prefix: &str, characters| format!("{prefix}{}", "x".repeat(characters));
        let refused = |text: &str| {
            let ending = lines(text.as_bytes()).expect_err("too long");
            assert_eq!(ending.status, REFUSED);
            ending.output
        };
        assert!(lines(long("UUID,", 79).as_bytes()).is_ok());
        assert!(lines((long("", 79) + "\n").as_bytes()).is_ok());
        assert!(lines(long("", 80).as_bytes()).is_ok());
        assert_eq!(
            refused(&(long("", 80) + "\n")),
            "Output selection starting column 1 on line 81 is too long\n"
        );
        assert_eq!(
            refused(&long("PROTOCOL\nPRO\rTOCOL,", 85)),
            "Output selection starting column 2 on line 91 is too long\n"
        );
        assert!(lines(long("1\n2\n3\n4\n", 90).as_bytes()).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_ends_it() {
        for path in ["NO_SUCH_THING", "", " PROTOCOL", "PROTOCOL UUID", "??"] {
            let ending = Selection::choose(Some(path), Style::Csv, Direction::Send, false).err();
            let said = format!("Could not open output selection file '{path}' errno 2\n");
            assert_eq!(ending, Some(Ending::new(REFUSED).output(said)));
        }
        let folder = Selection::choose(Some("/"), Style::Csv, Direction::Send, false);
        assert!(folder.is_ok_and(|selection| selection.blocks.is_empty()));
    }

    #[test]
    fn lists_have_collected_what_they_name_and_files_have_not() {
        let wants = |word| {
            let chosen = choose(word);
            (chosen.wants_latency(), chosen.wants_congestion_control())
        };
        assert_eq!(wants("all"), (true, true));
        assert_eq!(wants("THROUGHPUT"), (false, false));
        assert_eq!(wants("RT_LATENCY"), (false, false));
        assert_eq!(wants("stddev_latency"), (true, false));
        assert_eq!(wants("PROTOCOL;;REMOTE_CONG_CONTROL"), (false, true));
        let file = Selection::of_text(b"MIN_LATENCY,LOCAL_CONG_CONTROL\n").expect("short words");
        assert_eq!(shown(&file), ["MIN_LATENCY LOCAL_CONG_CONTROL"]);
        assert_eq!((file.wants_latency(), file.wants_congestion_control()), (false, false));
    }
}

//! The example scripts that come with netperf: their command lines, and what they pick out of the answers.

use std::time::Duration;

use super::{Bench, csv, ended_well, figure, positive};
use crate::netperf::{Pair, figures};

harnesses! {
    single_figures_of_many_at_once_are_added_up
    interim_lines_are_picked_apart
    tests_are_known_in_small_letters
    every_form_of_interim_result_is_read
    a_burst_is_found_by_one_number
    calibration_rates_are_passed_back
    segment_size_is_a_bare_number
    everything_by_omni_is_one_line_under_one_header
    an_endless_aggregate_ends_by_a_signal
}

/// An interim line of the human form, as awk's fields: rate, interval, and when it ended.
#[derive(Debug)]
struct Interim {
    rate: f64,
    interval: f64,
    ending: f64,
}

/// The length of an interval in seconds. What is left at the end may have been moved in no time.
fn interval(text: &str) -> f64 {
    let seconds = figure(text);
    assert!(seconds >= 0.0 && seconds.is_finite(), "{text} is no length of time");
    seconds
}

/// Those lines that begin with `Interim`; fields 3, 6 and 10 of each.
fn interim(out: &str) -> Vec<Interim> {
    let lines = out.lines().filter(|line| line.starts_with("Interim"));
    let fields = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Interim { rate: positive(words[2]), interval: interval(words[5]), ending: positive(words[9]) }
    };
    lines.map(fields).collect()
}

/// No interval is shorter than what was asked for, each ends where the next begins, and the last is now. A
/// negative step asks for intervals that are not longer either, so there are at least so many; with a
/// positive one, netperf guesses when to look at its clock, and may miss all of them but the last.
fn assert_regular(interims: &[Interim], step: f64, least: usize) {
    let (last, whole) = interims.split_last().expect("there are some");
    assert!(whole.iter().all(|interim| interim.interval > step.abs() * 0.95), "{interims:?}");
    if step < 0.0 {
        assert!(interims.len() >= least, "{} interims, fewer than {least}: {interims:?}", interims.len());
        // On a busy machine some are late, but not all of them.
        let timely = whole.iter().filter(|interim| interim.interval < step.abs() * 1.1).count();
        assert!(timely > 0, "{interims:?}");
    }
    for pair in interims.windows(2) {
        let gap = pair[1].ending - pair[0].ending;
        assert!((gap - pair[1].interval).abs() < 0.1, "{pair:?}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    assert!((now.as_secs_f64() - last.ending).abs() < 15.0, "{interims:?}");
}

/// `arr_script`: arguments at their letters, one figure each, several netperfs side by side.
fn single_figures_of_many_at_once_are_added_up(pair: Pair) {
    let bench = Bench::new(pair);
    for (test, options) in [("TCP_RR", "-r1,1"), ("UDP_RR", "-r64,64"), ("TCP_STREAM", "-m16K")] {
        let line = format!("-t{test} -l1 -H HOST -p PORT -P0 -v0 -- {options}");
        let started: Vec<_> = (0..4).map(|_| bench.start(&line)).collect();
        let sum: f64 = started.into_iter().map(|netperf| positive(&ended_well(&line, netperf.ended()))).sum();
        assert!(sum > 0.0);
    }
}

/// `bloat.sh`, which ends its runs by SIGALRM, and `netperf_interim_to_rrd.sh`.
fn interim_lines_are_picked_apart(pair: Pair) {
    let bench = Bench::new(pair);
    for (options, step) in
        [("-t TCP_RR -D -0.5 -v 2 -- -r 1", -0.5), ("-t TCP_STREAM -D 0.25 -v 2 -- -m 1K", 0.25)]
    {
        let line = format!("-H HOST -p PORT -l 30 {options}");
        let netperf = bench.start(&line);
        std::thread::sleep(Duration::from_millis(2600));
        netperf.signal("ALRM");
        let out = ended_well(&line, netperf.ended());
        assert_regular(&interim(&out), step, 2);
        // The result still comes, after the lines.
        let figures = out.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
        assert!(figures.count() >= 1, "{out}");
    }
    let out = bench.run("-H HOST -p PORT -l 3 -t UDP_STREAM -D 1 -c -C -- -m 1472 -s 64K -S 64K");
    assert_regular(&interim(&out), 1.0, 1);
    // Lines of figures are to be told from interim lines; the CPU columns are there.
    let (sent, received) = (figures(&out, 1), figures(&out, 0));
    assert_eq!((sent.len(), received.len()), (8, 6), "{out}");
}

/// `bloat.py`.
fn tests_are_known_in_small_letters(pair: Pair) {
    let bench = Bench::new(pair);
    for (test, unit, word, options) in [
        ("tcp_rr", "x", "Trans/s", "-r 1"),
        ("tcp_stream", "m", "10^6bits/s", "-s 1M -S 1M -m 64K,64K -M 64K,64K"),
        ("tcp_maerts", "m", "10^6bits/s", "-s 1M -S 1M -m 64K,64K -M 64K,64K"),
    ] {
        let out = bench.run(&format!("-t {test} -H HOST -p PORT -l 2 -D -0.250000 -f {unit} -- {options}"));
        assert_regular(&interim(&out), -0.25, 3);
        let units = out.lines().filter(|line| line.starts_with("Interim")).map(|line| line.contains(word));
        assert!(units.into_iter().all(|found| found), "{out}");
    }
}

/// `post_proc.py`: words 2, 3, 5 and 9 of the human form, four lines by name in their order, or a line of
/// CSV with exactly four fields.
fn every_form_of_interim_result_is_read(pair: Pair) {
    let bench = Bench::new(pair);
    let run = |form: &str| {
        bench.run(&format!("-P 0 -t omni -H HOST -p PORT -l 2 -D -0.5 -f m -- -d send -m 64K {form}"))
    };
    let human = run("-O THROUGHPUT");
    assert_regular(&interim(&human), -0.5, 2);
    assert!(
        human.lines().take(3).all(|line| line.split_whitespace().nth(3) == Some("10^6bits/s")),
        "{human}"
    );

    let named = run("-k THROUGHPUT");
    let mut lines = named.lines().peekable();
    let mut found = Vec::new();
    while lines.peek().is_some_and(|line| line.starts_with("NETPERF_INTERIM_RESULT")) {
        let index = found.len();
        let mut value = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(&format!("{name}[{index}]="));
            value.unwrap_or_else(|| panic!("not {name}[{index}] but {line}")).to_owned()
        };
        let rate = positive(&value("NETPERF_INTERIM_RESULT"));
        assert_eq!(value("NETPERF_UNITS"), "10^6bits/s", "{named}");
        let interval = interval(&value("NETPERF_INTERVAL"));
        found.push(Interim { rate, interval, ending: positive(&value("NETPERF_ENDING")) });
    }
    assert_regular(&found, -0.5, 2);
    assert!(lines.next().is_some_and(|line| line.starts_with("THROUGHPUT=")), "{named}");

    let commas = run("-o THROUGHPUT");
    let rows: Vec<Vec<String>> = commas.lines().map(csv).collect();
    let read = |row: &Vec<String>| {
        assert_eq!(row[1], "10^6bits/s", "{commas}");
        Interim { rate: positive(&row[0]), interval: interval(&row[2]), ending: positive(&row[3]) }
    };
    let found: Vec<Interim> = rows.iter().filter(|row| row.len() == 4).map(read).collect();
    assert_regular(&found, -0.5, 2);
    assert_eq!(rows.last().map(Vec::len), Some(1), "{commas}");
    // Interim results make up the whole.
    let mean = found.iter().map(|interim| interim.rate * interim.interval).sum::<f64>()
        / found.iter().map(|interim| interim.interval).sum::<f64>();
    let whole = positive(&rows.last().expect("the result")[0]);
    assert!((mean / whole - 1.0).abs() < 0.05, "{mean}, {whole}: {commas}");
}

/// `find_max_burst.sh`: one number, and the exit status.
fn a_burst_is_found_by_one_number(pair: Pair) {
    let bench = Bench::new(pair);
    for burst in [0, 8] {
        let out = bench.run(&format!(
            "-t UDP_RR -l 1 -P 0 -H HOST -p PORT -- -b {burst} -D -o throughput -e 1 -s 1M -S 1M"
        ));
        positive(&out);
        assert_eq!(out.lines().count(), 1, "{out}");
    }
}

/// `snapshot_script`, `tcp_range_script` and their kin: the output of LOC_CPU and REM_CPU is the word after
/// `-c` and `-C`; headers are printed by the first run only.
fn calibration_rates_are_passed_back(pair: Pair) {
    let bench = Bench::new(pair);
    let rate = |test: &str| {
        let out = bench.run(&format!("-t {test} -H HOST -p PORT"));
        positive(&out);
        assert!(!out.contains(char::is_whitespace), "a word for a shell: `{out}`");
        out
    };
    let (local, remote) = (rate("LOC_CPU"), rate("REM_CPU"));
    for (test, options, columns, from_end) in [
        ("TCP_STREAM", "-m 4096 -s 57344 -S 57344", 9, 0),
        ("TCP_RR", "-r 1,1 -s 0 -S 0 -D", 10, 1),
        ("UDP_RR", "-r 64,1024", 10, 1),
        ("UDP_STREAM", "-m 1024 -s 32768 -S 32768", 6, 0),
    ] {
        let confidence = if test == "TCP_RR" { "-i 3,3 -I 99,10" } else { "" };
        let run = |headers: &str| {
            bench.run(&format!(
                "{headers} -p PORT -t {test} -l 1 -H HOST {confidence} -c {local} -C {remote} -- {options}"
            ))
        };
        let (first, second) = (run(""), run("-P 0"));
        assert!(
            first.contains(" TEST from ") && !second.contains(char::is_alphabetic) || second.contains("!!!")
        );
        for out in [&first, &second] {
            let row = figures(out, from_end);
            assert_eq!(row.len(), columns, "{out}");
            assert!(row.iter().all(|figure| *figure >= 0.0), "nothing is left unmeasured: {out}");
        }
    }
}

/// `packet_byte_script`.
fn segment_size_is_a_bare_number(pair: Pair) {
    let bench = Bench::new(pair);
    let out = bench.run("-t TCP_MSS -P 0 -v 0 -H HOST -p PORT");
    assert!((500.0..=65_535.0).contains(&positive(&out)), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    let size = out.trim();
    for (test, options) in [
        ("TCP_RR", format!("-r {size},1 -s -1 -S -1")),
        ("TCP_STREAM", format!("-m {size} -s 128K -S 128K")),
        ("TCP_CRR", format!("-r 1,{size}")),
    ] {
        let out = bench.run(&format!("-P 0 -t {test} -H HOST -p PORT -l 1 -c 100 -C 100 -- {options}"));
        let row = figures(&out, usize::from(test != "TCP_STREAM"));
        assert_eq!(row.len(), if test == "TCP_STREAM" { 9 } else { 10 }, "{out}");
        let sizes = if test == "TCP_STREAM" { &row[2..3] } else { &row[2..4] };
        assert!(sizes.contains(&figure(size)), "{out}");
    }
}

/// `runemomni.sh`, `runemomniagg2.sh`: headers once, then lines of the same columns.
fn everything_by_omni_is_one_line_under_one_header(pair: Pair) {
    let bench = Bench::new(pair);
    let uuid = bench.run("-t uuid -H HOST -p PORT");
    assert_eq!((uuid.len(), uuid.lines().count()), (36, 1), "{uuid}");
    let run = |global: &str, test: &str| {
        bench.run(&format!(
            "-t omni -T 0,0 -c -C -H HOST -p PORT -l 1 {global} -- -H HOST -u {uuid} {test} -o all"
        ))
    };
    let first = run("-i 3,3 -f m", "-m 64K");
    let mut lines = first.lines();
    assert!(lines.next().is_some_and(|banner| banner.starts_with("OMNI Send TEST from ")), "{first}");
    let header = csv(lines.next().unwrap_or_default());
    let column = |name: &str| {
        header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}: {header:?}"))
    };
    let check = |values: &[String], unit: &str, direction: &str| {
        assert_eq!(values.len(), header.len(), "{values:?}");
        positive(&values[column("Throughput")]);
        positive(&values[column("Elapsed Time (sec)")]);
        assert_eq!(values[column("Throughput Units")].trim(), unit, "{values:?}");
        assert_eq!(values[column("Direction")].trim(), direction, "{values:?}");
        assert_eq!(values[column("Test UUID")].trim(), uuid, "{values:?}");
        assert_eq!(values[column("Local CPU Util Method")].trim(), "S", "{values:?}");
        positive(&values[column("Local CPU Util %")]);
        positive(&values[column("Remote CPU Util %")]);
    };
    check(&csv(lines.next().unwrap_or_default()), "10^6bits/s", "Send");
    assert_eq!(lines.next(), None, "{first}");
    for (global, test, unit, direction) in [
        ("-P 0 -f m", "-M ,64K", "10^6bits/s", "Receive"),
        ("-P 0 -f x", "-r 1 -D -b 12", "Trans/s", "Send|Recv"),
        ("-P 0 -f x", "-r 64K -s 1M -S 1M", "Trans/s", "Send|Recv"),
        ("-P 0 -f x", "-T udp -r 1 -e 1", "Trans/s", "Send|Recv"),
        ("-P 0 -f m", "-T udp -m 1472 -R 1", "10^6bits/s", "Send"),
    ] {
        let out = run(global, test);
        assert_eq!(out.lines().count(), 1, "{out}");
        check(&csv(out.trim_end_matches('\n')), unit, direction);
    }
}

/// `runemomniaggdemo.sh` and its kin: runs of hours that a signal ends, with the result.
fn an_endless_aggregate_ends_by_a_signal(pair: Pair) {
    let bench = Bench::new(pair);
    let selectors = "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME,UUID";
    let lines: Vec<String> =
        ["-f m", "-m 64K", "-f x", "-r 1", "-f x", "-r 64K -b 12", "-f x", "-r 1 -b 16 -e 1 -T udp"]
            .chunks(2)
            .map(|options| {
                format!(
                    "-D 0.5 -c -C -P 0 {} -t omni -l 7200 -v 2 -H HOST -p PORT -- {} -u tag -o {selectors}",
                    options[0], options[1]
                )
            })
            .collect();
    let started: Vec<_> = lines.iter().map(|line| bench.start(line)).collect();
    std::thread::sleep(Duration::from_millis(3600));
    for netperf in &started {
        netperf.signal("ALRM");
    }
    for (line, netperf) in lines.iter().zip(started) {
        let out = ended_well(line, netperf.ended());
        let rows: Vec<Vec<String>> = out.lines().map(csv).collect();
        // Both kinds of line have four fields; only the last of them ends with the name that was given.
        let (last, interims) = rows.split_last().expect("a result");
        assert!(!interims.is_empty() && rows.iter().all(|row| row.len() == 4), "{out}");
        let unit = if line.contains("-f m") { "10^6bits/s" } else { "Trans/s" };
        assert!(rows.iter().all(|row| row[1].trim() == unit), "{out}");
        assert!(positive(&last[0]) > 0.0 && last[3].trim() == "tag", "{out}");
        assert!((2.0..8.0).contains(&figure(&last[2])), "{out}");
    }
}

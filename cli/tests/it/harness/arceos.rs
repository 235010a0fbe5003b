//! The test script of ArceOS and of contests for operating systems: a netserver on one address, five tests,
//! each a success or a failure by its exit status.

use super::{Bench, positive};
use crate::netperf::{Pair, figures};

harnesses! { five_tests_end_with_success }

fn five_tests_end_with_success(pair: Pair) {
    let bench = Bench::new(pair);
    let sizes = "-s 16k -S 16k -m 1k -M 1k";
    for (test, options) in [
        ("UDP_STREAM", ""),
        ("TCP_STREAM", ""),
        ("UDP_RR", "-r 64,64 -R 1"),
        ("TCP_RR", "-r 64,64 -R 1"),
        ("TCP_CRR", "-r 64,64 -R 1"),
    ] {
        let out = bench.run(&format!("-H HOST -p PORT -t {test} -l 1 -- {sizes} {options}"));
        // The script looks no further; a result there has to be all the same.
        let rows = out.lines().filter(|line| !line.is_empty() && !line.contains(char::is_alphabetic));
        assert_eq!(rows.count(), if test == "TCP_STREAM" { 1 } else { 2 }, "{out}");
        let row = figures(&out, usize::from(test != "TCP_STREAM"));
        positive(&row.last().expect("a row has figures").to_string());
        if test.ends_with("RR") {
            assert_eq!(row[2..4], [64.0, 64.0], "{out}");
        } else {
            // k is 1000.
            assert_eq!(row[if test == "UDP_STREAM" { 1 } else { 2 }], 1000.0, "{out}");
        }
    }
}

//! How each tool is called: as its users call it, with the addresses, ports and times of a run filled in.

use super::kit::Tool;
use super::readings::{self, Reading};

/// One way of calling one tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contender {
    /// What the tables call it.
    pub(super) label: String,
    /// Whose it is.
    pub(super) tool: Tool,
    /// Words of the server, with `{host}`, `{port}` and `{data}` to be filled in.
    pub(super) server: Vec<String>,
    /// Words of the client, with `{seconds}` and `{fifth}` of them as well.
    pub(super) client: Vec<String>,
    /// It measures more than once and tells of the last time, so that the CPU time of all is not that of what
    /// it tells.
    pub(super) searches: bool,
}

impl Contender {
    /// Called with these words.
    fn new(label: &str, tool: Tool, server: &str, client: &str) -> Self {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self { label: label.to_owned(), tool, server: words(server), client: words(client), searches: false }
    }

    /// ringperf with these options of netserver and of run.
    pub(super) fn ringperf(label: &str, test: &str, server: &str, client: &str) -> Self {
        let server = format!("netserver -D -L {{host}} -p {{port}} {server}");
        let client = format!("run {test} -H {{host}} --port {{port}} --time {{seconds}} --json {client}");
        Self::new(label, Tool::Ringperf, &server, &client)
    }

    /// netperf with these options of the test.
    pub(super) fn netperf(label: &str, test: &str, options: &str) -> Self {
        let keys = readings::NETPERF_KEYS;
        let client = format!("-H {{host}} -p {{port}} -t {test} -l {{seconds}} -- {options} -k {keys}");
        Self::new(label, Tool::Netperf, "-D -4 -L {host} -p {port}", &client)
    }

    /// iperf3 with these options.
    pub(super) fn iperf3(label: &str, options: &str) -> Self {
        let client = format!("-c {{host}} -p {{port}} -t {{seconds}} -J {options}");
        Self::new(label, Tool::Iperf3, "-s -B {host} -p {port}", &client)
    }

    /// neper's tcp_stream with one thread, so many flows, and an orderly close.
    pub(super) fn neper(label: &str, flows: u32) -> Self {
        let both =
            format!("-T 1 -F {flows} -C {{port}} -P {{data}} --listen-backlog 4096 --time-wait --nolog");
        let client = format!("-c -H {{host}} -l {{seconds}} {both}");
        Self::new(label, Tool::Neper, &both, &client)
    }

    /// One of neper's tests of transactions, with one thread, so many flows, and an orderly close.
    pub(super) fn neper_transactions(label: &str, tool: Tool, flows: u32) -> Self {
        let both =
            format!("-T 1 -F {flows} -C {{port}} -P {{data}} --listen-backlog 4096 --time-wait --nolog");
        let client = format!("-c -H {{host}} -l {{seconds}} {both}");
        Self::new(label, tool, &both, &client)
    }

    /// The copy floor.
    pub(super) fn floor() -> Self {
        let server = format!("{} {{host}}:{{port}}", super::floor::RECEIVE);
        let client = format!("{} {{host}}:{{port}} {{seconds}}", super::floor::SEND);
        Self::new(Tool::Floor.name(), Tool::Floor, &server, &client)
    }

    /// Nothing.
    pub(super) fn idle() -> Self {
        Self::new(Tool::Idle.name(), Tool::Idle, "", "")
    }

    /// The same, measuring more than once: the last time, which counts, lasts five times as long.
    pub(super) fn searching(mut self) -> Self {
        for word in self.client.iter_mut().filter(|word| *word == "{seconds}") {
            "{fifth}".clone_into(word);
        }
        Self { searches: true, ..self }
    }

    /// It stands for a tool that the row compares ringperf with.
    pub(super) fn is_peer(&self) -> bool {
        !matches!(self.tool, Tool::Floor | Tool::Idle | Tool::Ringperf)
    }

    /// What it says about a run: of its client's and its server's standard output.
    ///
    /// # Errors
    /// What is not as it should be.
    pub(super) fn read(&self, client: &str, server: &str) -> Result<Reading, String> {
        match self.tool {
            Tool::Floor => readings::floor(client, server),
            Tool::Idle => Ok(Reading::default()),
            Tool::Iperf3 => readings::iperf3(client),
            Tool::Neper => readings::neper(server),
            Tool::NeperCrr | Tool::NeperRr => readings::neper_transactions(client),
            Tool::Netperf => readings::netperf(client),
            Tool::Ringperf => readings::ringperf(client),
        }
    }

    /// Whether its server goes by itself after one run, and has its figures only then.
    pub(super) fn server_ends(&self) -> bool {
        matches!(self.tool, Tool::Floor | Tool::Neper | Tool::NeperCrr | Tool::NeperRr)
    }

    /// Its two command lines for a reader: client's, server's.
    pub(super) fn commands(&self, filling: &Filling) -> [String; 2] {
        let names = match self.tool {
            Tool::Floor => ["versus", "versus"],
            tool => tool.programs(),
        };
        let line = |name: &str, words: &[String]| format!("{name} {}", filling.fill(words).join(" "));
        [line(names[0], &self.client), line(names[1], &self.server)]
    }
}

/// What is filled in.
#[derive(Clone, Debug)]
pub(super) struct Filling {
    /// Address of the server.
    pub(super) host: &'static str,
    /// Its control port, as written.
    pub(super) port: String,
    /// A port for its data.
    pub(super) data: String,
    /// Length of the test.
    pub(super) seconds: u64,
}

impl Filling {
    /// The words with everything filled in.
    pub(super) fn fill(&self, words: &[String]) -> Vec<String> {
        let (seconds, fifth) = (self.seconds.to_string(), self.seconds.div_ceil(5).to_string());
        let filled = |word: &String| {
            word.replace("{host}", self.host)
                .replace("{port}", &self.port)
                .replace("{data}", &self.data)
                .replace("{seconds}", &seconds)
                .replace("{fifth}", &fifth)
        };
        words.iter().map(filled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_filled_in() {
        let filling =
            Filling { host: "127.0.0.1", port: "1234".to_owned(), data: "5678".to_owned(), seconds: 5 };
        let ours = Contender::ringperf("ringperf", "tcp-stream", "", "--message 1M");
        let [client, server] = ours.commands(&filling);
        assert_eq!(client, "ringperf run tcp-stream -H 127.0.0.1 --port 1234 --time 5 --json --message 1M");
        assert_eq!(server, "ringperf netserver -D -L 127.0.0.1 -p 1234");
        let search = ours.searching().client.join(" ");
        assert!(search.contains("--time {fifth}"), "{search}");
        let [client, _] = Contender::neper("neper", 16).commands(&filling);
        assert_eq!(
            client,
            "tcp_stream -c -H 127.0.0.1 -l 5 -T 1 -F 16 -C 1234 -P 5678 --listen-backlog 4096 --time-wait \
             --nolog"
        );
    }
}

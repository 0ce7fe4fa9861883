//! What a daemon tells Prometheus, read strictly: a parser of our own that forgives nothing, and Debian's Prometheus.
//!
//! The text format's own parsers are lenient where a scrape is not, so that a page that one of them takes may still be
//! dropped by a server, or mean something else there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::port::Port;
use crate::process::{Finished, Running};
use crate::wait;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One series and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, with `_bucket`, `_sum` or `_count` where its family is a histogram.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one name, with what the page says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// A page of metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Its families by name.
    pub families: BTreeMap<String, Family>,
}

/// Asks for a page over HTTP/1.1 and gives status and body.
///
/// # Panics
///
/// If there is no whole answer in time.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect to the metrics endpoint");
    stream.set_read_timeout(Some(PATIENCE)).expect("bound a read");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("send a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    (status.expect("an answer has a status"), body)
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk has a size");
        if size == 0 {
            break;
        }
        text.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    text
}

impl Page {
    /// Scrapes a daemon.
    ///
    /// # Panics
    ///
    /// If the page is not there, or breaks a rule.
    #[track_caller]
    pub fn scrape(address: SocketAddr) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        Self::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            reader
                .line(line)
                .map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
        }
        reader.finish()
    }

    /// The samples of a family; none if there is no such family.
    pub fn samples(&self, family: &str) -> &[Sample] {
        self.families
            .get(family)
            .map_or(&[], |family| family.samples.as_slice())
    }

    /// The value of the one series with these labels, whatever others it has.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        };
        let all = self.families.values().flat_map(|family| &family.samples);
        let found: Vec<&Sample> = all.filter(fits).collect();
        match found.as_slice() {
            [only] => only.value,
            _ => panic!("one series {name} {labels:?} expected, there are {found:?}"),
        }
    }
}

/// Reads line by line.
#[derive(Default)]
struct Reader {
    page: Page,
    /// The family whose lines are being read, and whether its help and type have come.
    current: Option<String>,
    helped: Option<(String, String)>,
    seen: BTreeSet<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("no help text")?;
            if help.trim().is_empty() || !help.ends_with('.') {
                return Err("a help text is a sentence".to_owned());
            }
            self.helped = Some((named(name)?.to_owned(), help.to_owned()));
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            return self.typed(rest);
        }
        if line.is_empty() || line.starts_with('#') {
            return Err("neither a sample nor a comment that means something".to_owned());
        }
        self.sample(line)
    }

    fn typed(&mut self, rest: &str) -> Result<(), String> {
        let (name, kind) = rest.split_once(' ').ok_or("no type")?;
        let help = match self.helped.take() {
            Some((helped, help)) if helped == name => help,
            _ => return Err("a type without a help text of the same name before it".to_owned()),
        };
        if !matches!(kind, "counter" | "gauge" | "histogram") {
            return Err(format!("`{kind}` is no type of ours"));
        }
        if (kind == "counter") != name.ends_with("_total") {
            return Err("counters, and nothing else, end in _total".to_owned());
        }
        let family = Family {
            kind: kind.to_owned(),
            help,
            samples: Vec::new(),
        };
        if self.page.families.insert(name.to_owned(), family).is_some() {
            return Err("the family comes twice".to_owned());
        }
        self.current = Some(name.to_owned());
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
        let value = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => return Err("a value that is no number says nothing".to_owned()),
            value => value.parse::<f64>().map_err(|error| error.to_string())?,
        };
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (
                name,
                labels_of(labels.strip_suffix('}').ok_or("labels without end")?)?,
            ),
            None => (series, BTreeMap::new()),
        };
        named(name)?;
        let current = self.current.clone().ok_or("a sample before any type")?;
        let family = self.page.families.get_mut(&current).ok_or("no such family")?;
        let suffix = name
            .strip_prefix(current.as_str())
            .ok_or("a sample of another family")?;
        let fits = match family.kind.as_str() {
            "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
            _ => suffix.is_empty(),
        };
        if !fits {
            return Err("a sample of another family".to_owned());
        }
        if family.kind == "counter" && value < 0.0 {
            return Err("a counter below zero".to_owned());
        }
        if !self.seen.insert(format!("{name}{labels:?}")) {
            return Err("the series comes twice".to_owned());
        }
        family.samples.push(Sample {
            name: name.to_owned(),
            labels,
            value,
        });
        Ok(())
    }

    fn finish(self) -> Result<Page, String> {
        for (name, family) in &self.page.families {
            let names: BTreeSet<Vec<&String>> = family
                .samples
                .iter()
                .filter(|sample| !sample.name.ends_with("_bucket"))
                .map(|sample| sample.labels.keys().collect())
                .collect();
            if names.len() > 1 {
                return Err(format!("the series of {name} have different labels: {names:?}"));
            }
        }
        Ok(self.page)
    }
}

fn named(name: &str) -> Result<&str, String> {
    let good = |at: usize, c: char| c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit());
    if !name.is_empty() && name.chars().enumerate().all(|(at, c)| good(at, c)) {
        Ok(name)
    } else {
        Err(format!("`{name}` is no name"))
    }
}

/// `name="value",…` with `\\`, `\"` and `\n` in values.
fn labels_of(mut text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or("a label without a value")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next().ok_or("a value without end")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    _ => return Err("an unknown escape".to_owned()),
                }),
                (_, c) => value.push(c),
            }
        };
        if labels.insert(named(name)?.to_owned(), value).is_some() {
            return Err(format!("the label {name} comes twice"));
        }
        text = match &rest[end + 1..] {
            "" => "",
            more => more.strip_prefix(',').ok_or("no comma between labels")?,
        };
    }
    Ok(labels)
}

/// Debian's Prometheus, where `DR_PROMETHEUS` names the folder of its programs.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Finds them.
    pub fn find() -> Option<Self> {
        std::env::var_os("DR_PROMETHEUS").map(|folder| Self(folder.into()))
    }

    /// Lets `promtool check metrics` judge the page at `address`.
    ///
    /// # Panics
    ///
    /// If it can not be started.
    #[track_caller]
    pub fn check(&self, address: SocketAddr) -> Finished {
        let (_, text) = get(address, "/metrics");
        let mut command = Command::new(self.0.join("promtool"));
        let mut running = Running::start(command.args(["check", "metrics"]));
        let mut stdin = running.stdin().expect("standard input is a pipe");
        stdin.write_all(text.as_bytes()).expect("give promtool the page");
        drop(stdin);
        running.finish(PATIENCE)
    }

    /// Starts a server that scrapes `targets`, each named by its job.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn scraping(&self, folder: &Path, targets: &[(&str, SocketAddr)]) -> Server {
        let mut config = "global: { scrape_interval: 1s }\nscrape_configs:\n".to_owned();
        for (job, address) in targets {
            let _infallible = writeln!(
                config,
                "  - job_name: {job}\n    static_configs: [ {{ targets: [\"{address}\"] }} ]"
            );
        }
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("write Prometheus's configuration");
        let port = Port::hold();
        let mut command = Command::new(self.0.join("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={}", port.address()));
        let running = Running::start(&mut command);
        Server { running, port }
    }
}

/// A Prometheus under way; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    port: Port,
}

impl Server {
    /// Asks until a query gives `enough`, and gives the answer's values by the label `by`.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    #[track_caller]
    pub fn until(
        &self,
        query: &str,
        by: &str,
        enough: impl Fn(&BTreeMap<String, f64>) -> bool,
    ) -> BTreeMap<String, f64> {
        wait::until(PATIENCE, || {
            let values = self.ask(query, by).unwrap_or_default();
            if enough(&values) {
                return Ok(values);
            }
            let id = self.running.id();
            Err(format!("Prometheus (process {id}) says {values:?} to {query}"))
        })
    }

    /// `None` while it is not up.
    fn ask(&self, query: &str, by: &str) -> Option<BTreeMap<String, f64>> {
        TcpStream::connect(self.port.address()).ok()?;
        let encoded: String = query.bytes().fold(String::new(), |mut text, byte| {
            let _infallible = write!(text, "%{byte:02X}");
            text
        });
        let (status, body) = get(self.port.address(), &format!("/api/v1/query?query={encoded}"));
        if status != 200 {
            return None;
        }
        let answer: serde_json::Value = serde_json::from_str(&body).expect("Prometheus answers in JSON");
        let series = answer["data"]["result"].as_array()?;
        let value = |one: &serde_json::Value| {
            let value = one["value"][1].as_str()?.parse().ok()?;
            Some((one["metric"][by].as_str()?.to_owned(), value))
        };
        Some(series.iter().filter_map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# HELP dr_x Things.\n# TYPE dr_x gauge\ndr_x{a=\"b\\\"c,d\",e=\"f\"} 1.5\ndr_x{a=\"g\",e=\"\"} 0\n";

    #[test]
    fn a_good_page_reads() {
        let page = Page::parse(GOOD).unwrap();
        assert_eq!(page.samples("dr_x").len(), 2);
        assert!((page.value("dr_x", &[("a", "b\"c,d")]) - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn each_broken_rule_is_found() {
        let head = "# HELP dr_x Things.\n# TYPE dr_x gauge\n";
        for (page, rule) in [
            (format!("{head}dr_x 1"), "no end"),
            ("dr_x 1\n".to_owned(), "before any type"),
            ("# TYPE dr_x gauge\ndr_x 1\n".to_owned(), "without a help"),
            (format!("{head}dr_x 1\ndr_x 2\n"), "twice"),
            (
                format!("{head}dr_x{{a=\"1\"}} 1\ndr_x{{b=\"1\"}} 1\n"),
                "different labels",
            ),
            (format!("{head}dr_y 1\n"), "another family"),
            (format!("{head}dr_x NaN\n"), "no number"),
            (format!("{head}dr_x{{a=\"1 1\n"), "labels without end"),
            (format!("{head}dr_x{{a=\"1\"b=\"2\"}} 1\n"), "no comma"),
            (format!("{head}{head}dr_x 1\n"), "comes twice"),
            (
                "# HELP dr_x Things.\n# TYPE dr_x counter\ndr_x 1\n".to_owned(),
                "_total",
            ),
        ] {
            let error = Page::parse(&page).unwrap_err();
            assert!(error.contains(rule), "{page}: {error}");
        }
    }
}

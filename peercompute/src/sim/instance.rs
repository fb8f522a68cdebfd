//! Instance files: a network, and the best that any planner could reach on it.

mod format;
mod pipe;

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::Duration,
};

use peercompute_swarm::{
    cell::{ByteRate, TaskRate, TaskShape},
    sim::{LinkSpec, Network, NetworkError, NodeEvent, NodeSpec, Presence, RuleName},
};

use self::{
    format::{RawInstance, RawNode},
    pipe::Pipe,
};
use super::text::exact;

/// Bytes in a file. The largest network that is taken needs fewer.
pub(super) const MAX_FILE_BYTES: u64 = 512 << 20;
/// Nodes in a network.
pub(super) const MAX_NODES: usize = 1_000_000;
/// Links in a network.
pub(super) const MAX_LINKS: usize = 4_000_000;
/// Nodes that leave or come back.
const MAX_EVENTS: usize = 4_000_000;
/// Bytes of a network's name.
const MAX_NAME_BYTES: usize = 256;
/// Simulated seconds: more than eleven days.
pub(super) const MAX_SECONDS: f64 = 1e6;
/// Bytes of an input or output, and a second: far beyond any network, and what a clock of nanoseconds still resolves.
const MAX_BYTES: f64 = 1e12;
/// Bytes a second at least: an item of a byte arrives within a simulation.
const MIN_RATE: f64 = 1.0 / MAX_SECONDS;
/// Tasks a second that a node computes, for the same reason.
const MAX_COMPUTE: f64 = 1e6;
/// One hour.
const MAX_LATENCY_MS: f64 = 3_600_000.0;
/// How long somebody is waited for who writes into a pipe that is named as a file.
const PIPE_PATIENCE: Duration = Duration::from_secs(10);
/// How long networks with churn are simulated where the file does not say.
const CHURN_SECONDS: f64 = 240.0;

/// A network to simulate, and what is known of it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) network: Network,
    /// The most tasks a second that any planner could reach, with all nodes there.
    pub(super) bound: Option<f64>,
    /// It comes from no file.
    pub(super) made: bool,
}

/// What a network asks of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Nobody comes or goes.
    Fixed,
    /// Each node chooses its links, of which it may have so many at a time.
    Overlay { max_degree: usize },
    /// Nodes leave without a word and come back.
    Churn {
        duration: Duration,
        /// The most tasks that any planner could complete in it.
        optimum_tasks: Option<f64>,
    },
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Overlay { .. } => "overlay",
            Self::Churn { .. } => "churn",
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct InstanceError {
    /// The field that is at fault, such as `links[3]`; `file` where it is the file itself.
    pub(super) field: String,
    /// Names the field too.
    message: String,
}

impl InstanceError {
    fn file(message: impl Into<String>) -> Self {
        Self {
            field: "file".to_owned(),
            message: message.into(),
        }
    }

    /// A network that cannot be made.
    pub(super) fn generated(message: String) -> Self {
        Self {
            field: "nodes".to_owned(),
            message,
        }
    }

    /// `problem` goes on after the name of the field.
    fn new(field: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self {
            message: format!("{field} {problem}"),
            field,
        }
    }
}

impl InstanceError {
    /// A network in which nodes choose their links, and a rule that cannot.
    pub(super) fn no_choice(rule: RuleName) -> Self {
        let problem = format!("is \"overlay\", and {rule} cannot choose links; use --rule cell");
        Self::new("mode", problem)
    }
}

impl From<NetworkError> for InstanceError {
    fn from(error: NetworkError) -> Self {
        let field = error.field();
        match error {
            NetworkError::NotPositive { value, .. } => {
                let problem = format!("is {}; it must be a number above 0", exact(value));
                Self::new(field, problem)
            }
            NetworkError::Negative { value, .. } => {
                let problem = format!("is {}; it must be 0 or a number above", exact(value));
                Self::new(field, problem)
            }
            other => Self {
                field,
                message: other.to_string(),
            },
        }
    }
}

/// Reads an instance file, of which no more is kept than the network.
pub(super) fn read(path: &Path) -> Result<Instance, InstanceError> {
    let cannot_be_opened =
        |error: io::Error| InstanceError::file(format!("cannot be opened: {error}"));
    // Before it is opened, which for a pipe that nobody writes into would never end.
    let metadata = fs::metadata(path).map_err(cannot_be_opened)?;
    if metadata.is_dir() {
        return Err(InstanceError::file("is a directory; name the files in it"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(InstanceError::file(too_long()));
    }
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    let stem = stem.to_string_lossy();
    if metadata.file_type().is_fifo() {
        return parse(
            Pipe::open(path, PIPE_PATIENCE).map_err(cannot_be_opened)?,
            &stem,
        );
    }
    parse(File::open(path).map_err(cannot_be_opened)?, &stem)
}

/// Parses an instance, whose name is `stem` if it has none.
fn parse(reader: impl Read, stem: &str) -> Result<Instance, InstanceError> {
    let reader = BufReader::new(Limited {
        inner: reader,
        left: MAX_FILE_BYTES,
    });
    let raw = format::read(reader)?;
    let mode = mode(&raw)?;
    let name = raw.name.as_deref().unwrap_or(stem);
    if name.len() > MAX_NAME_BYTES {
        let bytes = name.len();
        let problem = format!("has {bytes} bytes; {MAX_NAME_BYTES} are the most");
        return Err(InstanceError::new("name", problem));
    }
    let bound = positive("optimum_tasks_per_s", raw.optimum_tasks_per_s)?;
    Ok(Instance {
        name: name.to_owned(),
        mode,
        bound,
        made: false,
        network: network(raw, mode)?,
    })
}

fn mode(raw: &RawInstance) -> Result<Mode, InstanceError> {
    const MODES: &str = "it must be \"fixed\", \"overlay\" or \"churn\"";
    match raw.mode.as_deref() {
        Some("fixed") => Ok(Mode::Fixed),
        Some("churn") => {
            let seconds = positive("duration_s", raw.duration_s)?.unwrap_or(CHURN_SECONDS);
            at_most("duration_s", seconds, MAX_SECONDS)?;
            Ok(Mode::Churn {
                duration: Duration::from_secs_f64(seconds),
                optimum_tasks: positive("optimum_tasks", raw.optimum_tasks)?,
            })
        }
        Some("overlay") => {
            let most = required("max_degree", raw.max_degree)?;
            if most == 0 {
                return Err(InstanceError::new("max_degree", "is 0; it must be above 0"));
            }
            Ok(Mode::Overlay {
                max_degree: most as usize,
            })
        }
        Some(other) => {
            let other: String = other.chars().take(32).collect();
            Err(InstanceError::new("mode", format!("is {other:?}; {MODES}")))
        }
        None => Err(InstanceError::new("mode", format!("is missing; {MODES}"))),
    }
}

fn network(raw: RawInstance, mode: Mode) -> Result<Network, InstanceError> {
    let task = required("task", raw.task)?.0;
    let input = task_bytes("task.input_bytes", task.input_bytes)?;
    let output = task_bytes("task.output_bytes", task.output_bytes)?;
    let nodes = required("nodes", raw.nodes)?.0;
    let nodes = nodes
        .into_iter()
        .enumerate()
        .map(|(index, raw)| node(index, &raw.0))
        .collect::<Result<_, _>>()?;
    let links = required("links", raw.links)?.0;
    let links = links
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let rates = [
                rate(&format!("links[{index}][2]"), raw.rates[0])?,
                rate(&format!("links[{index}][3]"), raw.rates[1])?,
            ];
            let field = format!("links[{index}][4]");
            not_negative(&field, raw.latency_ms)?;
            at_most(&field, raw.latency_ms, MAX_LATENCY_MS)?;
            let latency = Duration::from_secs_f64(raw.latency_ms / 1e3);
            Ok(LinkSpec::new(raw.ends, rates, latency))
        })
        .collect::<Result<_, InstanceError>>()?;
    let events = match mode {
        Mode::Fixed | Mode::Overlay { .. } => Vec::new(),
        Mode::Churn { .. } => raw.events.map(|events| events.0).unwrap_or_default(),
    };
    let events = events
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let field = format!("events[{index}][0]");
            not_negative(&field, raw.at)?;
            at_most(&field, raw.at, MAX_SECONDS)?;
            let presence = match raw.leaves {
                true => Presence::Leave,
                false => Presence::Join,
            };
            let at = Duration::from_secs_f64(raw.at);
            Ok(NodeEvent::new(at, raw.node, presence))
        })
        .collect::<Result<_, InstanceError>>()?;
    let shape = TaskShape::new(input, output);
    Ok(match mode {
        Mode::Overlay { max_degree } => Network::overlay(shape, nodes, links, max_degree)?,
        Mode::Fixed | Mode::Churn { .. } => Network::with_events(shape, nodes, links, events)?,
    })
}

fn node(index: usize, raw: &RawNode) -> Result<NodeSpec, InstanceError> {
    let field = |name: &str| format!("nodes[{index}].{name}");
    let compute = required(&field("compute"), raw.compute)?;
    at_most(&field("compute"), compute, MAX_COMPUTE)?;
    let up = rate(&field("up"), required(&field("up"), raw.up)?)?;
    let down = rate(&field("down"), required(&field("down"), raw.down)?)?;
    let mut node = NodeSpec::new(TaskRate(compute), up, down);
    node.source = raw.source;
    Ok(node)
}

/// A capacity. That it is not too small for a number above 0 is left to the network, whose words for it are better.
fn rate(field: &str, value: f64) -> Result<ByteRate, InstanceError> {
    at_most(field, value, MAX_BYTES)?;
    if value > 0.0 && value < MIN_RATE {
        let problem = format!("is {}; {MIN_RATE} is the least", exact(value));
        return Err(InstanceError::new(field, problem));
    }
    Ok(ByteRate(value))
}

fn task_bytes(field: &str, value: Option<f64>) -> Result<f64, InstanceError> {
    let value = required(field, value)?;
    at_most(field, value, MAX_BYTES)?;
    if value < 1.0 {
        let problem = format!("is {}; it must be 1 or more", exact(value));
        return Err(InstanceError::new(field, problem));
    }
    Ok(value)
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, InstanceError> {
    value.ok_or_else(|| InstanceError::new(field, "is missing"))
}

fn positive(field: &str, value: Option<f64>) -> Result<Option<f64>, InstanceError> {
    match value {
        Some(value) if value <= 0.0 => {
            let problem = format!("is {}; it must be a number above 0", exact(value));
            Err(InstanceError::new(field, problem))
        }
        value => Ok(value),
    }
}

fn not_negative(field: &str, value: f64) -> Result<(), InstanceError> {
    if value < 0.0 {
        let problem = format!("is {}; it must be 0 or a number above", exact(value));
        return Err(InstanceError::new(field, problem));
    }
    Ok(())
}

fn at_most(field: &str, value: f64, most: f64) -> Result<(), InstanceError> {
    if value > most {
        let problem = format!("is {}; {most} is the most", exact(value));
        return Err(InstanceError::new(field, problem));
    }
    Ok(())
}

fn too_long() -> String {
    let most = MAX_FILE_BYTES >> 20;
    format!("is longer than {most} MiB, the most that is read")
}

/// Fails where a reader gives more than it may: pipes have no length that could be looked at.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(too_long())),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"name":"pair","mode":"fixed","task":{"input_bytes":1000,"output_bytes":10},
        "nodes":[{"compute":1,"up":1e4,"down":1e4,"source":true},{"compute":0.5,"up":1e4,"down":1e4,"shade":{"r":[1]}}],
        "links":[[0,1,5000,6000,2.5]],"optimum_tasks_per_s":1.5,"max_degree":8}"#;

    fn fault(text: &str) -> (String, String) {
        let error = parse(text.as_bytes(), "stem").unwrap_err();
        (error.field.clone(), error.to_string())
    }

    #[track_caller]
    fn expect(from: &str, to: &str, field: &str, part: &str) {
        assert!(GOOD.contains(from), "{from}");
        let (found, message) = fault(&GOOD.replacen(from, to, 1));
        assert_eq!(found, field, "{message}");
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn a_good_file_is_read_and_what_is_unknown_ignored() {
        let instance = parse(GOOD.as_bytes(), "stem").unwrap();
        assert_eq!(instance.name, "pair");
        assert_eq!(instance.mode, Mode::Fixed);
        assert_eq!(instance.bound, Some(1.5));
        assert!(instance.network.nodes[0].source && !instance.network.nodes[1].source);
        assert_eq!(instance.network.links[0].ends, [0, 1]);
        assert_eq!(instance.network.links[0].latency.as_micros(), 2500);
    }

    #[test]
    fn a_file_without_name_and_bound_has_the_name_of_the_file_and_no_bound() {
        let text = GOOD
            .replace(r#""name":"pair","#, "")
            .replace("optimum", "o");
        let instance = parse(text.as_bytes(), "stem").unwrap();
        assert_eq!((instance.name.as_str(), instance.bound), ("stem", None));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (from, field) in [
            (r#""mode":"fixed","#, "mode"),
            (r#""input_bytes":1000,"#, "task.input_bytes"),
            (r#""links":[[0,1,5000,6000,2.5]],"#, "links"),
            (r#""compute":0.5,"#, "nodes[1].compute"),
        ] {
            expect(from, "", field, "is missing");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (from, to, field) in [
            ("1000", "0", "task.input_bytes"),
            (
                r#""output_bytes":10"#,
                r#""output_bytes":-1"#,
                "task.output_bytes",
            ),
            (r#""up":1e4"#, r#""up":0"#, "nodes[0].up"),
            (r#""down":1e4"#, r#""down":-2"#, "nodes[0].down"),
            (r#""down":1e4"#, r#""down":1e15"#, "nodes[0].down"),
            (r#""down":1e4"#, r#""down":1e-300"#, "nodes[0].down"),
            (r#""compute":1,"#, r#""compute":-1,"#, "nodes[0].compute"),
            (r#""compute":1,"#, r#""compute":1e300,"#, "nodes[0].compute"),
            ("5000", "0", "links[0][2]"),
            ("6000", "-1", "links[0][3]"),
            ("2.5]", "-1]", "links[0][4]"),
            ("2.5]", "1e300]", "links[0][4]"),
            (r#"_per_s":1.5"#, r#"_per_s":0"#, "optimum_tasks_per_s"),
        ] {
            expect(from, to, field, field);
        }
    }

    #[test]
    fn numbers_of_any_size_are_named_in_a_few_digits() {
        for (from, to) in [
            (r#""up":1e4"#, r#""up":-1e300"#),
            (r#""down":1e4"#, r#""down":1e-300"#),
            ("1000", "1e300"),
            ("5000", "-1e300"),
            (r#"_per_s":1.5"#, r#"_per_s":-1e300"#),
        ] {
            let (_, message) = fault(&GOOD.replacen(from, to, 1));
            assert!(message.len() < 80 && message.contains("300"), "{message}");
        }
    }

    #[test]
    fn a_list_where_an_object_belongs_is_called_one() {
        let (field, message) = fault(&format!("[{GOOD}]"));
        assert_eq!(field, "file");
        assert!(message.contains("found an array"), "{message}");
        assert!(message.contains("file of its own"), "{message}");
        let node = r#"{"compute":1,"up":1e4,"down":1e4,"source":true}"#;
        expect(node, "[1,1e4,1e4,true]", "nodes[0]", "found an array");
        let task = r#"{"input_bytes":1000,"output_bytes":10}"#;
        expect(task, "[1000,10]", "task", "found an array");
    }

    #[test]
    fn what_is_of_another_type_is_named() {
        for (from, to, field, part) in [
            (r#""up":1e4"#, r#""up":"fast""#, "nodes[0].up", "a number"),
            ("[0,1,", "[0,-1,", "links[0][1]", "index of a node"),
            ("[0,1,", "[0,0.5,", "links[0][1]", "index of a node"),
            ("2.5]", "]", "links[0]", "line 3"),
            (",6000,2.5]", "]", "links[0]", "latency"),
            ("[[0,1,5000,6000,2.5]]", "7", "links", "a list"),
            ("true", "1", "nodes[0].source", "a boolean"),
        ] {
            expect(from, to, field, part);
        }
    }

    #[test]
    fn networks_that_make_no_sense_are_named() {
        expect("[0,1,", "[0,2,", "links[0]", "there are 2 nodes");
        expect("[0,1,", "[0,0,", "links[0]", "itself");
        expect("true", "false", "nodes", "source");
        expect(
            "[0,1,5000,6000,2.5]",
            "",
            "nodes[0].source",
            "without a link",
        );
        let (field, _) = fault(
            r#"{"mode":"fixed","task":{"input_bytes":1,"output_bytes":1},"nodes":[],"links":[]}"#,
        );
        assert_eq!(field, "nodes");
    }

    #[test]
    fn an_overlay_says_how_many_links_a_node_may_have() {
        let overlay = GOOD.replace("\"fixed\"", "\"overlay\"");
        let instance = parse(overlay.as_bytes(), "stem").unwrap();
        assert_eq!(instance.mode, Mode::Overlay { max_degree: 8 });
        assert_eq!(instance.network.max_degree, Some(8));
        for (degree, about) in [("", "missing"), (",\"max_degree\":0", "above 0")] {
            let text = overlay.replace(",\"max_degree\":8", degree);
            let (field, message) = fault(&text);
            assert_eq!(field, "max_degree");
            assert!(message.contains(about), "{message}");
        }
    }

    #[test]
    fn modes_that_are_not_known_are_refused() {
        expect("\"fixed\"", "\"static\"", "mode", "static");
        expect("\"fixed\"", "3", "mode", "a string");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "no", "[1]", &GOOD[..150], &format!("{GOOD} {{}}")] {
            let (_, message) = fault(text);
            assert!(!message.is_empty());
        }
        assert_eq!(fault("").0, "file");
    }

    #[test]
    fn churn_has_events_and_an_optimum() {
        let churn = r#""mode":"churn","events":[[3.5,1,"leave"],[9,1,"join"]],"duration_s":12,"optimum_tasks":7"#;
        let text = GOOD.replace(r#""mode":"fixed""#, churn);
        let instance = parse(text.as_bytes(), "stem").unwrap();
        let duration = Duration::from_secs(12);
        let optimum_tasks = Some(7.0);
        assert_eq!(
            instance.mode,
            Mode::Churn {
                duration,
                optimum_tasks
            }
        );
        assert_eq!(instance.network.events.len(), 2);
        let (field, message) = fault(&text.replace("join", "return"));
        assert_eq!(field, "events[1][2]", "{message}");
        let (field, message) = fault(&text.replace("[9,1", "[1,1"));
        assert_eq!(field, "events[1]", "{message}");
    }

    #[test]
    fn a_reader_that_does_not_end_is_cut_off() {
        let mut limited = Limited {
            inner: io::repeat(b' '),
            left: 10,
        };
        let error = io::copy(&mut limited, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("512 MiB"), "{error}");
    }
}

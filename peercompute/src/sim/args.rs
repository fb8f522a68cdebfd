//! The arguments of `peercompute sim`.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, RangedI64ValueParser, TypedValueParser},
};
use peercompute_swarm::{
    cell::Buffer,
    sim::{MAX_GENERATED_NODES, NetworkKind, RuleName},
};

use super::instance::MAX_SECONDS;

#[derive(Debug, Args)]
#[command(override_usage = "\
peercompute sim [OPTIONS] <FILE>...
       peercompute sim [OPTIONS] --generate <KIND> --nodes <N>")]
#[command(after_help = "\
Examples:
  One network, measured against its bound:
    peercompute sim network.json
  Many, one JSON object a line:
    peercompute sim *.json --seed 7 --json
  Another rule on the same network:
    peercompute sim network.json --rule work-stealing
  A drawing, plots/network.svg:
    peercompute sim network.json --plot plots
  A network made here:
    peercompute sim --generate ba --nodes 10000

`--help` says what is in a file and what is printed.")]
#[command(after_long_help = "\
Examples:
  One network, measured against its bound:
    peercompute sim network.json
  Many, one JSON object a line:
    peercompute sim *.json --seed 7 --json
  Another rule on the same network:
    peercompute sim network.json --rule work-stealing
  A drawing, plots/network.svg:
    peercompute sim network.json --plot plots
  A network made here:
    peercompute sim --generate ba --nodes 10000

An instance file is one JSON object:
  { \"name\": \"pair\", \"mode\": \"fixed\",
    \"task\":  { \"input_bytes\": 65536, \"output_bytes\": 1310 },
    \"nodes\": [ { \"compute\": 1.5, \"up\": 400000, \"down\": 800000, \"source\": true },
               { \"compute\": 4, \"up\": 200000, \"down\": 900000 } ],
    \"links\": [ [0, 1, 100000, 50000, 12.5] ],
    \"optimum_tasks_per_s\": 3.0 }
compute is in tasks a second, up and down in bytes a second. A link is
[a, b, bytes a second from a to b, from b to a, one-way latency in ms]. The
optimum may be left out; there is no bound and no ratio then. Other fields are
ignored.
  \"mode\": \"churn\" adds \"events\" [[seconds, node, \"leave\" or \"join\"], ...],
  \"duration_s\" and \"optimum_tasks\".
  \"mode\": \"overlay\" adds \"max_degree\", the links that a node may hold at a
  time; links are candidates then.

What is printed:
  tasks/s  completed tasks whose result is back at a source: over the second
           half of the run; with churn over all of it
  bound    the best possible, optimum_tasks_per_s in the file; in the table
           with churn the mean of optimum_tasks
  ratio    tasks/s over the bound; with churn the completed tasks over
           optimum_tasks, if the run has the file's duration
  95 %     when the rate over a trailing window (10 s or 50 tasks, the longer)
           first reached 95 % of the steady rate
  control  what neighbours tell each other, for each completed task; its share
           is of the bytes of inputs and outputs
  buffer   inputs and outputs that wait at a node, at most and in the mean
  rerun    tasks that were given out again because nothing was heard of them;
           what is lost never will be
With --json: name, mode, rule, nodes, achieved_tasks_per_s, bound_tasks_per_s,
ratio, t95_s, control_bytes_per_task, control_share, max_buffer, mean_buffer,
max_links, rerun_tasks, lost_tasks, wall_s (the time that the simulation took);
for a file that cannot be used: file, field, error. The others still run. null
stands for what is not known.

The same seed gives the same figures. Files are simulated side by side, one on
each core. Interrupted, it prints what is done and says what is missing.

Exit status: 0 done; 1 a simulation or plot failed, or it was interrupted;
2 arguments or a file are unusable.")]
pub(crate) struct SimArgs {
    /// Networks, with the best that any planner could reach on them.
    #[arg(
        value_name = "FILE",
        required_unless_present = "generate",
        conflicts_with = "generate"
    )]
    pub(crate) files: Vec<PathBuf>,

    /// Make a network of this kind instead; it has no bound.
    #[arg(long, value_name = "KIND", value_parser = kind(), requires = "nodes")]
    pub(crate) generate: Option<NetworkKind>,

    /// How many nodes to make: up to 100,000.
    #[arg(
        long,
        value_name = "N",
        requires = "generate",
        conflicts_with = "files",
        value_parser = RangedI64ValueParser::<usize>::new().range(1..=MAX_GENERATED_NODES as i64),
        allow_negative_numbers = true
    )]
    pub(crate) nodes: Option<usize>,

    /// The rule that every node follows.
    #[arg(long, value_name = "NAME", value_parser = rule(), default_value_t)]
    pub(crate) rule: RuleName,

    /// How much may wait at a node.
    #[arg(long, value_name = "SIZE", value_enum, default_value_t = Buffers::Roomy)]
    pub(crate) buffers: Buffers,

    /// Decides whatever the network does not.
    ///
    /// With --generate it decides the network, too.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) seed: u64,

    /// How long to simulate: seconds, or a duration such as 20m.
    ///
    /// The default is 1200; with churn the file's duration_s, or 240. With --generate it is the shorter the larger the network: 1200 for up to 1,000 nodes, 240 for up
    /// to 10,000, 120 for up to 30,000, and 30 beyond.
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: Option<Duration>,

    /// Draw each network as DIR/NAME.svg.
    ///
    /// The throughput over time against the bound, and the network with its flows.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
}

/// Takes the names of rules.
fn rule() -> impl TypedValueParser<Value = RuleName> {
    let names = PossibleValuesParser::new(RuleName::ALL.map(RuleName::name));
    names.map(|name| name.parse().expect("only names of rules are let through"))
}

/// Takes the names of kinds of networks.
fn kind() -> impl TypedValueParser<Value = NetworkKind> {
    let names = PossibleValuesParser::new(NetworkKind::ALL.map(NetworkKind::name));
    names.map(|name| name.parse().expect("only names of kinds are let through"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Buffers {
    /// Ten items, or as many as the node has links.
    Roomy,
    /// Three items, or half as many as it has links.
    Tight,
}

impl From<Buffers> for Buffer {
    fn from(buffers: Buffers) -> Self {
        match buffers {
            Buffers::Roomy => Self::Roomy,
            Buffers::Tight => Self::Tight,
        }
    }
}

/// The name of a value, as it is given on the command line.
pub(super) fn value_name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.expect("none is hidden").get_name().to_owned()
}

/// Parses `1200`, `0.5` or `20m`. The option's name has the unit already.
fn seconds(text: &str) -> Result<Duration, String> {
    let refused = || {
        format!(
            "`{text}` is not a time to simulate; write a number of seconds above 0, such as 1200"
        )
    };
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| refused())?,
        Err(_) => humantime::parse_duration(text).map_err(|_| refused())?,
    };
    if duration.as_secs_f64() > MAX_SECONDS {
        return Err(format!(
            "`{text}` is too long; {MAX_SECONDS} seconds are the most"
        ));
    }
    if duration < SHORTEST {
        return Err(format!("`{text}` is too short; 1 second is the least"));
    }
    Ok(duration)
}

/// Rates are counted in tenths of a second.
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(seconds("1200"), Ok(Duration::from_secs(1200)));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("20m"), Ok(Duration::from_secs(1200)));
        for refused in ["0", "-1", "nan", "inf", "1e9", "long", "", "0.5"] {
            let error = seconds(refused).unwrap_err();
            assert!(error.contains(&format!("`{refused}`")), "{error}");
        }
    }

    #[test]
    fn rules_and_kinds_have_the_names_that_scripts_rely_on() {
        let rules = RuleName::ALL.map(RuleName::name).join(" ");
        assert_eq!(
            rules,
            "cell random-push shortest-queue diffusion work-stealing bandwidth-tree"
        );
        let kinds = NetworkKind::ALL.map(NetworkKind::name).join(" ");
        assert_eq!(
            kinds,
            "ba smallworld tree grid regular star chain clusters bridge"
        );
    }
}

//! What is printed: results on standard output, how it goes on standard error.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use serde::Serialize;

use crate::{
    args::{Carrier, PlayMode},
    failure::Failure,
    meter::Quantiles,
    record::Replayed,
    verdict::{Common, Difference},
    words::{Corrections, Report, Shown},
};

/// A line with `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// A player can be reached.
    Player {
        player: usize,
        pid: Option<u32>,
        peer: String,
    },
    /// A second has passed. Bandwidth is the mean of the players'.
    Second {
        second: u64,
        players: usize,
        host: Option<usize>,
        tick: u64,
        input_delay: u32,
        up_kb_per_s: f64,
        down_kb_per_s: f64,
        rollbacks: u64,
    },
    /// A player has ended before it was asked to.
    Lost {
        player: usize,
        error: Option<String>,
    },
}

/// What a session has come to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) players: usize,
    pub(crate) mode: PlayMode,
    pub(crate) transport: Carrier,
    pub(crate) relayed: bool,
    pub(crate) seconds: f64,
    pub(crate) cores: usize,
    pub(crate) seed: u64,
    pub(crate) reports: Vec<Report>,
    pub(crate) lost: Vec<usize>,
    pub(crate) common: Option<Common>,
    pub(crate) difference: Option<Difference>,
    pub(crate) json: bool,
    pub(crate) record: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "report")]
struct JsonOutcome<'a> {
    players: usize,
    mode: &'static str,
    transport: &'static str,
    relayed: bool,
    seconds: f64,
    cores: usize,
    seed: u64,
    lost: &'a [usize],
    state: Option<&'a Common>,
    difference: Option<&'a Difference>,
    reports: &'a [Report],
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "replay")]
struct JsonReplay<'a> {
    #[serde(flatten)]
    replayed: &'a Replayed,
    error: Option<&'a str>,
}

/// Prints the table, or the object.
pub(crate) fn print(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.json {
        return print_line(&to_json(&JsonOutcome {
            players: outcome.players,
            mode: outcome.mode.name(),
            transport: outcome.transport.name(),
            relayed: outcome.relayed,
            seconds: outcome.seconds,
            cores: outcome.cores,
            seed: outcome.seed,
            lost: &outcome.lost,
            state: outcome.common.as_ref(),
            difference: outcome.difference.as_ref(),
            reports: &outcome.reports,
        }));
    }
    print_line(&outcome.to_text(Style::of(&io::stdout())))
}

/// Prints what a replay has come to, as far as it came.
pub(crate) fn print_replay(
    replayed: &Replayed,
    error: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return print_line(&to_json(&JsonReplay { replayed, error }));
    }
    if replayed.ticks == 0 {
        return Ok(());
    }
    let Replayed {
        seed,
        ticks,
        seconds,
        players,
        commands,
        namespaces,
        hash,
        divergence,
    } = replayed;
    let mut text = format!(
        "{ticks} ticks, {seconds:.1} s, seed {seed}, {players} players at the end, {commands} commands\n"
    );
    for (name, hash) in namespaces {
        // A string takes everything.
        let _ = writeln!(text, "{name:<8} {hash}");
    }
    let _ = write!(text, "state    {hash}");
    if let Some((tick, namespace)) = divergence {
        let _ = write!(text, "\nfirst divergence after tick {tick}, in {namespace}");
    } else if error.is_none() {
        let _ = write!(text, "\nevery state is as it was recorded");
    }
    print_line(&text)
}

/// An object on a line of its own.
pub(crate) fn json(value: &impl Serialize) {
    if let Err(error) = print_line(&to_json(value)) {
        tracing::warn!(%error, "the session goes on without saying how");
    }
}

/// A line for people on standard error.
pub(crate) fn note(text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is printed has string keys")
}

/// Who has closed standard output does not want it.
fn print_line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(format!(
            "standard output: cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}

impl Line {
    /// Tells people who look on.
    pub(crate) fn note(&self) {
        let is_watched = io::stderr().is_terminal();
        match self {
            Self::Lost { player, error } => {
                let why = error.as_deref().unwrap_or("it was killed, or has died");
                note(&format!("player {player} is lost: {why}"));
            }
            Self::Second {
                second,
                players,
                host,
                tick,
                input_delay,
                up_kb_per_s,
                down_kb_per_s,
                rollbacks,
            } if is_watched => {
                let host = host.map_or("no host".to_owned(), |host| format!("host {host}"));
                let ticks = match input_delay {
                    0 => String::new(),
                    delay => format!("  delay {delay:>2}  {rollbacks} rollbacks"),
                };
                note(&format!(
                    "{second:>4} s  tick {tick:>6}  {players} players  {host}  {up_kb_per_s:.1} kB/s up, {down_kb_per_s:.1} down each{ticks}"
                ));
            }
            Self::Player { .. } | Self::Second { .. } => {}
        }
    }
}

/// Colours, where somebody sees them.
#[derive(Clone, Copy, Debug)]
struct Style(bool);

impl Style {
    fn of(stream: &impl io::IsTerminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && stream.is_terminal())
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

impl Outcome {
    /// Whether it is as it should be.
    ///
    /// # Errors
    ///
    /// Which players differ and where, or are lost, or why there is no record.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        if let Some(difference) = &self.difference {
            let Difference {
                tick,
                namespace,
                players: [one, other],
            } = difference;
            return Err(Failure::run(format!(
                "after tick {tick} the {namespace:?} of player {other} are not those of player {one}"
            )));
        }
        if self.mode != PlayMode::Independent && self.common.is_none() {
            return Err(Failure::run(
                "the players have no tick in common; play longer, or with fewer players",
            ));
        }
        if !self.lost.is_empty() {
            let lost: Vec<String> = self.lost.iter().map(ToString::to_string).collect();
            let (count, all, lost) = (self.lost.len(), self.players, lost.join(", "));
            return Err(Failure::run(format!(
                "{count} of {all} players did not come to the end: {lost}"
            )));
        }
        let record = self.reports.iter().find_map(|it| it.mode.record.as_ref());
        match record {
            Some(why) => Err(Failure::run(format!("--record: {why}"))),
            None => Ok(()),
        }
    }

    fn to_text(&self, style: Style) -> String {
        let path = match (self.relayed, self.transport) {
            (true, carrier) => format!("{} through a relay", carrier.name()),
            (false, carrier) => format!("{} on loopback", carrier.name()),
        };
        let mut text = format!(
            "{} players, {}, {path}, {:.1} s, {} cores\n\n",
            self.players,
            self.mode.name(),
            self.seconds,
            self.cores
        );
        let head = match self.mode {
            PlayMode::Independent => "states  entities  shown after  takeovers",
            PlayMode::Kernel | PlayMode::Hybrid => {
                "delay  right  rollbacks  again  snapshots  desyncs"
            }
        };
        let head = format!(
            "player     up kB/s  down   age ms p50    p99   event ms p50    p99  ticks  score  {head}"
        );
        // A string takes everything.
        let _ = writeln!(text, "{}", style.paint("1", &head));
        for report in &self.reports {
            let _ = writeln!(text, "{}", row(report));
        }
        for player in &self.lost {
            let line = format!("{player:>6}  lost");
            let _ = writeln!(text, "{}", style.paint("31", &line));
        }
        if self.mode != PlayMode::Independent {
            let state = match (&self.common, &self.difference) {
                (_, Some(difference)) => style.paint(
                    "31",
                    &format!(
                        "states differ from tick {} on, in {}",
                        difference.tick, difference.namespace
                    ),
                ),
                (Some(Common { tick, hash }), None) => {
                    let count = self.reports.len();
                    format!("state {hash} after tick {tick}, the same for all {count}")
                }
                (None, None) => style.paint("31", "no tick that all have come to"),
            };
            let _ = write!(text, "\n{state}");
        }
        if let Some(path) = &self.record {
            let _ = write!(text, "\nrecorded in {}", path.display());
        }
        text.trim_end().to_owned()
    }
}

fn row(report: &Report) -> String {
    let role = if report.is_host { "host" } else { "" };
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    let pair = |Quantiles { p50_ms, p99_ms, .. }: &Quantiles| (ms(*p50_ms), ms(*p99_ms));
    let ((age, age99), (event, event99)) = (pair(&report.age), pair(&report.event));
    let mut row = format!(
        "{:>6} {role:<4} {:>6.1} {:>5.1}   {age:>10} {age99:>6}   {event:>12} {event99:>6} {:>6} {:>6}",
        report.player, report.up_kb_per_s, report.down_kb_per_s, report.mode.ticks, report.score,
    );
    if let Some(corrections) = &report.mode.corrections {
        let Corrections {
            right,
            rollbacks,
            again,
            snapshots,
            desyncs,
            input_delay,
            ..
        } = corrections;
        let _ = write!(
            row,
            "  {input_delay:>5} {right:>6} {rollbacks:>10} {again:>6} {snapshots:>10} {desyncs:>8}"
        );
    }
    if let Some(shown) = &report.mode.shown {
        let Shown {
            states,
            entities,
            delay_ms,
            takeovers,
        } = shown;
        let delay = match report.is_host {
            true => "-".to_owned(),
            false => format!("{delay_ms:.0} ms"),
        };
        let _ = write!(
            row,
            "  {states:>6} {entities:>9} {delay:>12} {takeovers:>10}"
        );
    }
    row
}

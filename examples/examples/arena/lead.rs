//! The process that leads: it starts the players, lets them begin and stop together, and compares what they tell.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use peercompute_relay::{Relay, RelayOptions};
use peercompute_rt::Runtime;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    args::{Args, PlayMode},
    failure::Failure,
    process::{Heard, Process},
    report::{self, Line, Outcome},
    signal::StopSignal,
    verdict::Verdict,
    watch::Stage,
    words::{Order, Report, Second, Word},
};

/// Words of the players that wait to be heard. Further ones wait in their pipes.
const WORDS: usize = 256;

/// How long players may take to meet, and each further one of them: all share the cores.
const MEETING: Duration = Duration::from_secs(20);
const MEETING_OF_EACH: Duration = Duration::from_secs(2);

/// How long they may take to say how it was, and to leave.
const REPORTING: Duration = Duration::from_secs(10);
const LEAVING: Duration = Duration::from_secs(5);

/// A player, as it is known here.
struct Seat {
    process: Process,
    peer: Option<String>,
    /// The host that it sees, since it sees all others.
    met: Option<String>,
    second: Second,
    report: Option<Report>,
    error: Option<String>,
    /// It ended before it was asked to.
    is_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Meeting,
    Playing,
    Reporting,
}

struct Lead {
    args: Args,
    seats: Vec<Seat>,
    heard: mpsc::Sender<(usize, Heard)>,
    relay: Option<String>,
    phase: Phase,
    verdict: Verdict,
    seconds: u64,
}

pub(crate) async fn lead(args: Args) -> Result<(), Failure> {
    check(&args)?;
    let mut stop = StopSignal::listen()?;
    let relay = match args.relay {
        true => Some(
            Relay::start(&Runtime::tokio(), RelayOptions::local())
                .await
                .map_err(Failure::run)?,
        ),
        false => None,
    };
    let stage = args.watch.then(Stage::enter).transpose()?;
    let outcome = hold(args, relay.as_ref(), &mut stop).await;
    drop(stage);
    if let Some(relay) = relay {
        relay.stop().await;
    }
    let outcome = outcome?;
    report::print(&outcome)?;
    outcome.verdict()
}

/// What can be said before anything is started.
fn check(args: &Args) -> Result<(), Failure> {
    if args.watch && !(io::stderr().is_terminal() && io::stdin().is_terminal()) {
        return Err(Failure::usage(
            "--watch: standard input and standard error are no terminal; run it in one, or without --watch",
        ));
    }
    if let Some(path) = &args.record {
        if args.mode != PlayMode::Kernel {
            return Err(Failure::usage(
                "--record: only the mode kernel has ticks that are the same for all and could be recorded; use --mode kernel",
            ));
        }
        std::fs::File::create(path).map_err(|error| {
            let path = path.display();
            Failure::usage(format!("--record {path}: it cannot be written: {error}"))
        })?;
    }
    Ok(())
}

/// Holds a session. When it ends, so have all players, whatever happened.
async fn hold(
    args: Args,
    relay: Option<&Relay>,
    stop: &mut StopSignal,
) -> Result<Outcome, Failure> {
    let relay = relay.map(|relay| {
        let addresses = relay.addresses().into_iter().map(|it| it.to_string());
        let mut addresses = addresses.filter(|it| args.transport.speaks(it));
        addresses
            .next()
            .expect("a relay listens at all that players speak")
    });
    let (sender, mut heard) = mpsc::channel(WORDS);
    let mut lead = Lead {
        args,
        seats: Vec::new(),
        heard: sender,
        relay,
        phase: Phase::Meeting,
        verdict: Verdict::default(),
        seconds: 0,
    };
    let outcome = lead.run(&mut heard, stop).await;
    let outcome = outcome.map(|()| lead.outcome());
    lead.end(&mut heard).await;
    outcome
}

impl Lead {
    async fn run(
        &mut self,
        heard: &mut mpsc::Receiver<(usize, Heard)>,
        stop: &mut StopSignal,
    ) -> Result<(), Failure> {
        self.start(0, None)?;
        let players = self.args.players as u32;
        let mut due = Instant::now() + MEETING + players * MEETING_OF_EACH;
        let mut second = Instant::now();
        loop {
            tokio::select! {
                Some((number, heard)) = heard.recv() => {
                    if let Some(deadline) = self.hear(number, heard).await? {
                        due = deadline;
                        second = Instant::now() + Duration::from_secs(1);
                    }
                    if self.phase == Phase::Reporting && self.seats.iter().all(Seat::is_done) {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(second), if self.phase == Phase::Playing => {
                    second += Duration::from_secs(1);
                    self.tell_second();
                }
                () = tokio::time::sleep_until(due) => match self.phase {
                    Phase::Meeting => return Err(self.missing()),
                    Phase::Playing => due = self.stop().await,
                    Phase::Reporting => return Ok(()),
                },
                () = stop.next() => match self.phase {
                    Phase::Meeting => return Err(Failure::run("stopped before all had met")),
                    Phase::Playing => due = self.stop().await,
                    // Asked twice, it does not wait.
                    Phase::Reporting => return Ok(()),
                },
            }
        }
    }

    fn start(&mut self, number: usize, meet: Option<&str>) -> Result<(), Failure> {
        let args = &self.args;
        let mut arguments = vec![
            format!("--player={number}"),
            format!("--players={}", args.players),
            format!("--mode={}", args.mode.name()),
            format!("--seed={}", args.seed),
            format!("--transport={}", args.transport.name()),
        ];
        if let Some(relay) = &self.relay {
            arguments.extend(["--relay".to_owned(), format!("--through={relay}")]);
        }
        arguments.extend(meet.map(|meet| format!("--meet={meet}")));
        if number == 0 {
            if args.watch {
                arguments.push("--watch".to_owned());
            }
            if let Some(path) = &args.record {
                arguments.extend(["--record".to_owned(), path.display().to_string()]);
            }
        }
        let process = Process::start(number, &arguments, self.heard.clone())?;
        self.seats.push(Seat {
            process,
            peer: None,
            met: None,
            second: Second::default(),
            report: None,
            error: None,
            is_lost: false,
        });
        Ok(())
    }

    /// Takes in what a player says. Gives when the next phase ends, if it has begun.
    async fn hear(&mut self, number: usize, heard: Heard) -> Result<Option<Instant>, Failure> {
        match heard {
            Heard::Word(Word::Here { peer, addresses }) => {
                let pid = self.seats[number].process.id();
                self.tell(&Line::Player {
                    player: number,
                    pid,
                    peer: peer.clone(),
                });
                self.seats[number].peer = Some(peer);
                if number == 0 {
                    let meet = addresses.first().map(String::as_str);
                    for number in 1..self.args.players {
                        self.start(number, meet)?;
                    }
                }
            }
            Heard::Word(Word::Met { host }) => {
                let host = Some(host);
                let is_same = |seat: &Seat| seat.met == host;
                self.seats[number].met.clone_from(&host);
                let is_full = self.seats.len() == self.args.players;
                if self.phase == Phase::Meeting && is_full && self.seats.iter().all(is_same) {
                    self.phase = Phase::Playing;
                    self.order(Order::Go).await;
                    let seconds = Duration::from_secs(self.args.seconds);
                    return Ok(Some(Instant::now() + seconds));
                }
            }
            Heard::Word(Word::Second(mut second)) => {
                self.verdict
                    .note(number, std::mem::take(&mut second.hashes));
                self.seats[number].second = second;
            }
            Heard::Word(Word::Done(mut report)) => {
                self.verdict
                    .note(number, std::mem::take(&mut report.hashes));
                self.seats[number].report = Some(*report);
            }
            Heard::Word(Word::Failed { error }) => self.seats[number].error = Some(error),
            Heard::Word(Word::Quit) if self.phase == Phase::Playing => {
                return Ok(Some(self.stop().await));
            }
            Heard::Word(Word::Quit) if self.phase == Phase::Meeting => {
                return Err(Failure::run("stopped before all had met"));
            }
            Heard::Word(Word::Quit) => {}
            Heard::Silence => {
                let seat = &mut self.seats[number];
                seat.is_lost = seat.report.is_none();
                let error = seat.error.clone();
                if self.phase == Phase::Meeting {
                    let why = error.unwrap_or_else(|| "it has died".to_owned());
                    return Err(Failure::run(format!("player {number}: {why}")));
                }
                self.tell(&Line::Lost {
                    player: number,
                    error,
                });
            }
        }
        Ok(None)
    }

    async fn stop(&mut self) -> Instant {
        self.phase = Phase::Reporting;
        self.order(Order::Stop).await;
        Instant::now() + REPORTING
    }

    async fn order(&mut self, order: Order) {
        for seat in &mut self.seats {
            seat.process.order(order).await;
        }
    }

    fn missing(&self) -> Failure {
        let missing = self.seats.iter().enumerate();
        let missing = missing.filter(|(_, seat)| seat.met.is_none());
        let missing: Vec<String> = missing.map(|(number, _)| number.to_string()).collect();
        let (count, missing) = (self.args.players, missing.join(", "));
        Failure::run(format!(
            "the {count} players have not all met in time, or do not agree on a host; those who do not see all others: [{missing}]; try fewer, or on a machine that is less busy"
        ))
    }

    fn tell_second(&mut self) {
        self.seconds += 1;
        let known: Vec<&Seat> = self.seats.iter().filter(|seat| !seat.is_lost).collect();
        let count = known.len().max(1) as f64;
        let mean = |of: fn(&Second) -> u64| {
            let sum: u64 = known.iter().map(|seat| of(&seat.second)).sum();
            sum as f64 / 1e3 / count
        };
        let host = known.iter().find_map(|seat| seat.second.host.as_ref());
        let host = self
            .seats
            .iter()
            .position(|seat| seat.peer.as_ref() == host);
        let line = Line::Second {
            second: self.seconds,
            players: known.len(),
            host: host.filter(|host| !self.seats[*host].is_lost),
            tick: known.iter().map(|seat| seat.second.tick).max().unwrap_or(0),
            input_delay: known
                .iter()
                .map(|seat| seat.second.input_delay)
                .max()
                .unwrap_or(0),
            up_kb_per_s: mean(|second| second.up),
            down_kb_per_s: mean(|second| second.down),
            rollbacks: known.iter().map(|seat| seat.second.rollbacks).sum(),
        };
        self.tell(&line);
    }

    fn tell(&self, line: &Line) {
        if self.args.json {
            report::json(line);
        } else if !self.args.watch {
            line.note();
        }
    }

    fn outcome(&mut self) -> Outcome {
        let reports = self.seats.iter_mut().filter_map(|seat| seat.report.take());
        let reports: Vec<Report> = reports.collect();
        let lost = (0..self.args.players).filter(|it| reports.iter().all(|all| all.player != *it));
        Outcome {
            players: self.args.players,
            mode: self.args.mode,
            transport: self.args.transport,
            relayed: self.args.relay,
            seconds: reports.iter().map(|it| it.seconds).fold(0.0, f64::max),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            seed: self.args.seed,
            lost: lost.collect(),
            common: self.verdict.common(reports.iter().map(|it| it.player)),
            difference: self.verdict.difference().cloned(),
            reports,
            json: self.args.json,
            record: self.args.record.clone(),
        }
    }

    /// Lets all leave, and sees to it.
    async fn end(&mut self, heard: &mut mpsc::Receiver<(usize, Heard)>) {
        self.seats
            .iter_mut()
            .for_each(|seat| seat.process.dismiss());
        // What they still say may fill the pipes.
        heard.close();
        let seats = std::mem::take(&mut self.seats);
        let ends = seats.into_iter().map(|seat| seat.process.end(LEAVING));
        futures::future::join_all(ends).await;
    }
}

impl Seat {
    /// Whether nothing more is to be heard of it.
    fn is_done(&self) -> bool {
        self.report.is_some() || self.is_lost
    }
}

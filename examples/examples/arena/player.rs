//! A process that plays.

use std::{
    io::{self, BufRead as _, Write as _},
    sync::Arc,
    time::Duration,
};

use peercompute_kernel::{
    AuthorityConfig, InputSource, NodeKernel, RealtimeConfig, RealtimeEvent, RenderSink,
    sched::{Delivery, EventPolicy, Profile},
};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport};
use peercompute_rt::Runtime;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    args::{Args, PlayMode},
    bot::Bot,
    failure::Failure,
    game::{Arena, HERTZ},
    independent::Independent,
    record::Record,
    table::{Frame, Mode, Seen, Table},
    ticked::{self, Ticked},
    watch,
    words::{Order, Word},
};

/// Orders that wait to be read.
const ORDERS: usize = 8;

/// How often to look whether all have met.
const LOOK: Duration = Duration::from_millis(50);

/// Plays until it is asked to leave. Failures are told to whoever leads.
pub(crate) async fn play(args: Args, number: usize) -> Result<(), Failure> {
    // The terminal's Ctrl-C is for whoever leads, who then asks to stop.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let outcome = take_part(&args, number).await;
    if let Err(failure) = &outcome {
        let error = failure.to_string();
        say(&Word::Failed { error });
        return Err(Failure::Told);
    }
    outcome
}

async fn take_part(args: &Args, number: usize) -> Result<(), Failure> {
    let mut orders = orders()?;
    let runtime = Runtime::tokio();
    let mut config = Libp2pConfig::new(Identity::generate(&runtime));
    config.autonat = false;
    // Who is told to use a relay stays there.
    config.direct_upgrade = !args.relay;
    let transport = Libp2pTransport::start(config, &runtime).map_err(Failure::run)?;
    let mut builder = NodeKernel::builder()
        .room(ticked::GAME, "arena")
        .transport(Arc::new(transport))
        .serves(false)
        .metadata("player", number.to_string())
        .realtime(realtime(args, number));
    builder = match (&args.through, &args.meet) {
        (Some(relay), _) => builder.relay(relay.clone()),
        (None, None) => builder.listen(args.transport.listen()),
        (None, Some(peer)) => builder.listen(args.transport.listen()).peer(peer.clone()),
    };
    let node = builder.build(runtime).map_err(Failure::run)?;
    node.start().await.map_err(Failure::run)?;
    let outcome = sit_down(args, number, &node, &mut orders).await;
    node.stop().await;
    outcome
}

fn realtime(args: &Args, number: usize) -> RealtimeConfig {
    let reliable = EventPolicy::new(Delivery::Reliable);
    let profile = ["hit", "frag", "cheer"]
        .into_iter()
        .fold(Profile::action(), |profile, event_type| {
            profile.with_event_type(event_type, reliable)
        });
    let clock = ticked::clock_mode(args.mode, args.seed);
    let mut authority = AuthorityConfig::default();
    // The others know that it is there.
    authority.founds = number == 0;
    let config = RealtimeConfig::from(profile).with_clock(clock);
    config.with_authority(authority)
}

async fn sit_down(
    args: &Args,
    number: usize,
    node: &NodeKernel,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<(), Failure> {
    let live = node.realtime().expect("it was built with it").clone();
    let me = node.status().peer.expect("it has a transport");
    let network = node.network().expect("it runs and has a transport");
    if number == 0 {
        live.found();
    }
    let arena = Arena::new(args.seed);
    let seen = Seen::new(arena.state.clone());
    let input: Box<dyn InputSource> = match args.watch {
        true => Box::new(watch::Keyboard::default()),
        false => Box::new(seen.bot(Bot::new(args.seed, number as u64), me)),
    };
    let screen = args.watch.then(|| watch::Terminal::new(args.mode));
    let sink = screen.map(|screen| Box::new(screen) as Box<dyn RenderSink<Frame>>);
    let mut table = Table::new((number, args.players), me, live, network, seen, sink);
    let mut mode: Box<dyn Mode> = match args.mode {
        PlayMode::Kernel | PlayMode::Hybrid => {
            let record = args.record.as_deref().map(|path| {
                Record::create(path, args.seed).map_err(|error| {
                    Failure::usage(format!("--record {}: {error}", path.display()))
                })
            });
            let is_hybrid = args.mode == PlayMode::Hybrid;
            let record = record.transpose()?;
            Box::new(Ticked::new(&table, arena, input, record, is_hybrid))
        }
        PlayMode::Independent => Box::new(Independent::new(&table, args.seed, input)?),
    };
    say(&Word::Here {
        peer: me.to_string(),
        addresses: addresses(node, args).await,
    });
    play_on(&mut table, mode.as_mut(), orders).await
}

/// Where others reach it; nowhere itself with a relay, which tells them.
async fn addresses(node: &NodeKernel, args: &Args) -> Vec<String> {
    if args.relay {
        return Vec::new();
    }
    let addresses = node.status().addresses.into_iter();
    addresses.map(|address| address.to_string()).collect()
}

async fn play_on(
    table: &mut Table,
    mode: &mut dyn Mode,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<(), Failure> {
    let live = table.live.clone();
    let mut frames = interval(Duration::from_secs(1) / HERTZ);
    // Who is late does not hurry after.
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = interval(LOOK);
    let (mut met, mut has_quit) = (None, false);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Go) => {
                    table.begin_measuring();
                    mode.begin_measuring(table);
                }
                Some(Order::Stop) => {
                    say(&Word::Done(Box::new(table.report(mode))));
                    break;
                }
                None => return Ok(()),
            },
            Some(step) = live.next_step() => mode.handle_step(table, step)?,
            event = live.next_event() => match event {
                Some(RealtimeEvent::Event { payload, .. }) => table.handle_event(&payload),
                Some(event) => mode.handle_event(table, event)?,
                None => return Err(Failure::run("the node has stopped by itself")),
            },
            _ = frames.tick() => if mode.frame(table)?.is_break() && !has_quit {
                has_quit = true;
                say(&Word::Quit);
            },
            _ = seconds.tick() => {
                say(&Word::Second(table.second(mode)));
                if met.is_some() {
                    table.tell("cheer", &[]);
                }
            }
            _ = looks.tick() => {
                let host = live.host().filter(|_| table.has_met_all() && mode.has_begun());
                if let Some(host) = host && met != Some(host) {
                    met = Some(host);
                    say(&Word::Met { host: host.to_string() });
                }
            }
        }
    }
    // The others may not have said all yet: the room stays as it is until it is asked to leave.
    while orders.recv().await.is_some() {}
    Ok(())
}

/// Reads what whoever leads says, until the end of the standard input, which comes too when that one has died.
fn orders() -> Result<mpsc::Receiver<Order>, Failure> {
    let (sender, orders) = mpsc::channel(ORDERS);
    let read = move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) if sender.blocking_send(order).is_err() => break,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, line, "an order makes no sense"),
            }
        }
    };
    std::thread::Builder::new()
        .name("orders".to_owned())
        .spawn(read)
        .map_err(Failure::run)?;
    Ok(orders)
}

/// Tells whoever leads. Where nobody listens any more, the end of the input says so.
fn say(word: &Word) {
    let line = serde_json::to_string(word).expect("words have string keys");
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody listens");
    }
}

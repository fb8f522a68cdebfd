//! Nodes that end at any moment and come back with what they kept.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use peercompute_kernel::{
    NodeKernel, RealtimeEvent, Recipients, RoomChange, RoomRecord, RoomStore, RoomStoreError,
    sched::{Delivery, Outcome, Profile},
};
use peercompute_net::{Multiaddr, PeerId};
use peercompute_proto::Scope;
use peercompute_rt::{BoxFuture, Runtime};

use super::{SECOND, World, live, payloads, taken};

/// Records that outlast nodes, each written in 2 ms.
#[derive(Clone)]
struct Memory {
    runtime: Runtime,
    records: Arc<Mutex<BTreeMap<Bytes, Bytes>>>,
    is_broken: Arc<AtomicBool>,
}

impl Memory {
    fn new(world: &World) -> Self {
        Self {
            runtime: world.runtime.clone(),
            records: Arc::default(),
            is_broken: Arc::default(),
        }
    }

    fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }
}

impl RoomStore for Memory {
    fn load(&self, _: Scope) -> BoxFuture<'_, Result<Vec<RoomRecord>, RoomStoreError>> {
        let records = self.records.lock().unwrap().clone().into_iter();
        let records = records.map(|(key, value)| RoomRecord { key, value });
        let records = records.collect();
        Box::pin(async { Ok(records) })
    }

    fn write(
        &self,
        _: Scope,
        changes: Vec<RoomChange>,
    ) -> BoxFuture<'_, Result<(), RoomStoreError>> {
        Box::pin(async {
            self.runtime.sleep(Duration::from_millis(2)).await;
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(RoomStoreError::new("the disk is full"));
            }
            let mut records = self.records.lock().unwrap();
            for RoomChange { key, value } in changes {
                match value {
                    Some(value) => drop(records.insert(key, value)),
                    None => drop(records.remove(&key)),
                }
            }
            Ok(())
        })
    }
}

async fn node(world: &World, name: &str, store: &Memory, first: Option<&Multiaddr>) -> NodeKernel {
    let mut builder = world
        .node(name)
        .room("test", "room")
        .realtime(Profile::action())
        .room_store(Arc::new(store.clone()));
    builder = match first {
        Some(first) => builder.peer(first.clone()),
        None => builder.listen("/memory/7".parse().unwrap()),
    };
    let node = builder.build(world.runtime.clone()).unwrap();
    node.start().await.unwrap();
    node
}

fn id(node: &NodeKernel) -> PeerId {
    node.status().peer.unwrap()
}

async fn until(world: &World, what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            world.runtime.sleep(SECOND / 50).await;
        }
    };
    let waited = world.runtime.timeout(60 * SECOND, wait).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

fn send(node: &NodeKernel, to: PeerId, text: &'static str) {
    let to = Recipients::Peer(to);
    let sent = live(node).send_event_by(to, "e", Bytes::from(text), Delivery::Reliable);
    sent.unwrap();
}

fn outcomes(events: &[RealtimeEvent]) -> Vec<Outcome> {
    let settled = events.iter().filter_map(|event| match event {
        RealtimeEvent::Settled { outcome, .. } => Some(*outcome),
        _ => None,
    });
    settled.collect()
}

#[test]
fn events_for_a_peer_that_is_away_outlast_their_sender() {
    let world = World::new(620);
    let stores = [Memory::new(&world), Memory::new(&world)];
    world.run(async {
        let host = node(&world, "host", &stores[0], None).await;
        let address = host.status().addresses[0].clone();
        let tab = node(&world, "tab", &stores[1], Some(&address)).await;
        let to = id(&host);
        until(&world, "they meet", || live(&tab).peers() == [to]).await;
        assert!(live(&tab).is_kept());
        send(&tab, to, "heard");
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&host), [Bytes::from("heard")]);
        world.runtime.sleep(SECOND / 10).await;
        // It is gone without a word.
        drop(host);
        until(&world, "it is missed", || live(&tab).peers().is_empty()).await;
        send(&tab, to, "queued");
        live(&tab).kept().await;
        drop(tab);
        world.runtime.sleep(SECOND).await;
        let host = node(&world, "host", &stores[0], None).await;
        let tab = node(&world, "tab", &stores[1], Some(&address)).await;
        let resumed = taken(&tab);
        let payload = Bytes::from("queued");
        assert!(
            resumed.iter().any(
                |event| matches!(event, RealtimeEvent::Resumed { peer, payload: it, .. } if *peer == to && *it == payload)
            ),
            "{resumed:?}"
        );
        until(&world, "they meet again", || live(&tab).peers() == [to]).await;
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&host), [payload]);
        world.runtime.sleep(SECOND).await;
        assert_eq!(outcomes(&taken(&tab)), [Outcome::Acked]);
        world.runtime.sleep(SECOND).await;
        // What each knows about the other is left.
        assert_eq!(stores.each_ref().map(Memory::len), [1, 1]);
    });
}

#[test]
fn what_a_node_was_given_before_it_ended_does_not_come_again() {
    let world = World::new(621);
    let stores = [Memory::new(&world), Memory::new(&world)];
    world.run(async {
        let host = node(&world, "host", &stores[0], None).await;
        let address = host.status().addresses[0].clone();
        let tab = node(&world, "tab", &stores[1], Some(&address)).await;
        let to = id(&tab);
        until(&world, "they meet", || live(&host).peers() == [to]).await;
        taken(&tab);
        send(&host, to, "once");
        until(&world, "it comes", || {
            payloads(&tab) == [Bytes::from("once")]
        })
        .await;
        // Noted, and the acknowledgement is lost.
        world.network.partition([vec![id(&host)], vec![to]]);
        live(&tab).kept().await;
        drop(tab);
        world.runtime.sleep(SECOND / 10).await;
        world.network.heal();
        let tab = node(&world, "tab", &stores[1], Some(&address)).await;
        until(&world, "they meet again", || {
            live(&tab).peers() == [id(&host)]
        })
        .await;
        world.runtime.sleep(5 * SECOND).await;
        assert_eq!(payloads(&tab), Vec::<Bytes>::new());
        assert_eq!(outcomes(&taken(&host)), [Outcome::Acked]);
        send(&host, to, "more");
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&tab), [Bytes::from("more")]);
    });
}

#[test]
fn a_store_that_breaks_stops_nothing_else() {
    let world = World::new(622);
    let stores = [Memory::new(&world), Memory::new(&world)];
    world.run(async {
        let host = node(&world, "host", &stores[0], None).await;
        let address = host.status().addresses[0].clone();
        let tab = node(&world, "tab", &stores[1], Some(&address)).await;
        let to = id(&tab);
        until(&world, "they meet", || live(&host).peers() == [to]).await;
        world.runtime.sleep(SECOND).await;
        stores[1].is_broken.store(true, Ordering::Relaxed);
        send(&host, to, "spawn");
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&tab), [Bytes::from("spawn")]);
        world.runtime.sleep(SECOND).await;
        assert_eq!(outcomes(&taken(&host)), [Outcome::Acked]);
        assert!(!live(&tab).is_kept() && live(&host).is_kept());
        live(&tab).kept().await;
    });
}

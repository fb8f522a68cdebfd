//! What a live room has kept for its next life, as a damaged or a forged store may give it.

use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::{decode, v1};
use peercompute_sched::{KeptKey, Scheduler, SchedulerConfig};
use prost::Message as _;

/// The first two bytes are the length of the record of a peer (little endian; 0: none), which follows; the rest is an event that waits for it, if there is any.
pub(crate) fn room(data: &[u8]) {
    let Some((size, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (note, event) = rest.split_at(usize::from(u16::from_le_bytes(*size)).min(rest.len()));
    let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes));
    let mut config = SchedulerConfig::new(u64::MAX / 2);
    config.keeps = true;
    let mut now = Duration::from_secs(1);
    let mut scheduler = Scheduler::new(now, config);
    let events = some(event).into_iter().collect();
    let Ok(restored) = scheduler.restore_peer(now, some(note), events) else {
        assert_eq!(
            (scheduler.away().count(), scheduler.has_event()),
            (0, false)
        );
        return;
    };
    let back = scheduler
        .return_peer(now, restored.peer)
        .expect("it is away");
    let heard = v1::RealtimeFrame {
        session: 7,
        sequence: 1,
        memory: decode::<v1::KeptPeer>(Bytes::copy_from_slice(note))
            .map_or(1, |note| note.peer_memory),
        events: Some(v1::EventBatch {
            events: vec![v1::Event {
                id: 1,
                reliable: true,
                first_session: 3,
                first_id: 2,
                ..v1::Event::default()
            }],
            floor: 1,
        }),
        ..v1::RealtimeFrame::default()
    };
    scheduler
        .handle_frame(now, back, heard.encode_to_vec().into())
        .expect("it is a frame");
    let mut settled = 0;
    for _ in 0..40 {
        while scheduler.poll_transmit(now).is_some() {}
        while let Some(event) = scheduler.poll_event() {
            settled += usize::from(matches!(
                event,
                peercompute_sched::SchedulerEvent::EventSettled { .. }
            ));
        }
        for change in scheduler.take_changes(now) {
            if let (KeptKey::Peer, Some(record)) = (change.key, change.record) {
                decode::<v1::KeptPeer>(record).expect("it can be read again");
            }
        }
        scheduler.changes_kept();
        now += Duration::from_secs(1);
        scheduler.handle_timeout(now);
    }
    scheduler.remove_peer(back);
    while let Some(event) = scheduler.poll_event() {
        settled += usize::from(matches!(
            event,
            peercompute_sched::SchedulerEvent::EventSettled { .. }
        ));
    }
    assert_eq!(settled, restored.events.len(), "each is settled once");
}

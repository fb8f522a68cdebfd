use std::net::{IpAddr, Ipv4Addr};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use peercompute_rt::Task;

use super::*;
use crate::libp2p::webrtc::{
    channel::{ByteChannel, byte_channel},
    description::Role,
};

/// One end at work, and what is read and written at it.
struct End {
    channel: ByteChannel,
    work: Task<()>,
}

fn link(role: Role) -> (Link, ByteChannel) {
    let runtime = Runtime::tokio();
    let sockets = Sockets::bind(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
    let clock = Clock::new(&runtime);
    let session = Session::new(role, &sockets.addresses(), clock.now());
    let (channel, carried) = byte_channel();
    let (peer, hub) = (PeerId::random(), Arc::<DatagramHub>::default());
    let link = Link {
        session,
        sockets,
        clock,
        peer,
        hub,
        carried,
        way: None,
    };
    (link, channel)
}

/// Two ends over loopback.
async fn ends() -> [End; 2] {
    let (mut offerer, offered) = link(Role::Offer);
    let (mut answerer, answered) = link(Role::Answer);
    let offer = offerer.session.describe(&[]).unwrap();
    let answer = answerer.session.describe(&[]).unwrap();
    answerer.session.set_remote(&offer).unwrap();
    offerer.session.set_remote(&answer).unwrap();
    let begun = [(offerer, offered), (answerer, answered)].map(|(link, channel)| {
        let (opened, open) = oneshot::channel();
        let work = Runtime::tokio().spawn(Work::new(link).run(opened));
        (open, End { channel, work })
    });
    let mut ends = Vec::new();
    for (open, end) in begun {
        open.await.unwrap().unwrap();
        ends.push(end);
    }
    ends.try_into().ok().unwrap()
}

#[tokio::test]
async fn what_was_written_before_the_end_arrives() {
    let [mut writer, mut reader] = ends().await;
    let data: Vec<u8> = (0..1 << 20).map(|it: u32| (it / 7) as u8).collect();
    let written = data.clone();
    let writing = async move {
        writer.channel.write_all(&written).await.unwrap();
        writer.channel.close().await.unwrap();
        drop(writer.channel);
        writer.work.await;
    };
    let mut read = Vec::new();
    let (_, count) = futures::join!(writing, reader.channel.read_to_end(&mut read));
    assert_eq!(count.unwrap(), data.len());
    assert!(read == data);
    reader.work.await;
}

#[tokio::test]
async fn a_writer_whose_peer_does_not_read_is_slowed_down_and_in_the_end_cut_off() {
    let [mut writer, mut reader] = ends().await;
    let mut written = 0;
    while writer.channel.write_all(&[0; 4096]).await.is_ok() {
        written += 4096;
        assert!(written < 4 * MAX_BACKLOG, "nobody cuts it off");
    }
    assert!(written > MAX_BACKLOG / 2);
    reader.work.await;
    // What was taken is still there to read, and then the end.
    let mut read = Vec::new();
    reader.channel.read_to_end(&mut read).await.unwrap();
    assert!(!read.is_empty() && read.len() < MAX_BACKLOG);
}

#[tokio::test]
async fn both_ends_may_write_at_once_and_read_late() {
    const SIZE: usize = 8 << 20;
    let exchange = ends().await.map(|End { channel, work }| async move {
        let (mut reader, mut writer) = channel.split();
        let writing = async {
            writer.write_all(&vec![7; SIZE]).await.unwrap();
            writer.flush().await.unwrap();
        };
        let reading = async {
            let mut read = vec![0; SIZE];
            reader.read_exact(&mut read).await.unwrap();
            assert!(read.iter().all(|byte| *byte == 7));
        };
        futures::join!(writing, reading);
        // The end that is done first is not to end the other.
        (work, reader, writer)
    });
    for (work, ..) in futures::future::join_all(exchange).await {
        assert!(work.now_or_never().is_none(), "it is over before its time");
    }
}

#[tokio::test]
async fn who_stops_waiting_for_the_path_ends_the_search() {
    let (offerer, mut channel) = link(Role::Offer);
    let (opened, open) = oneshot::channel();
    let work = Runtime::tokio().spawn(Work::new(offerer).run(opened));
    drop(work);
    assert!(open.await.is_err());
    assert_eq!(channel.read(&mut [0]).await.unwrap(), 0);
}

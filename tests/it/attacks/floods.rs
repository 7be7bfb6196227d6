//! Frames in masses.

use super::{
    Attacker, ENHANCE_YOUR_CALM, GET_PRODUCT, Honest, LITTLE, SEVEN, Victim,
    attacker::{
        self, ACK, CONTINUATION, END_HEADERS, END_STREAM, PRIORITY, WINDOW_UPDATE, field, framed,
        indexed_field,
    },
    shop,
};
use crate::support::Frame;

/// More than anything lets through.
const MANY: usize = 1_000_000;

/// Floods the program with frames that `frame` makes of their number, until it closes the connection, and tells how many it
/// may have taken. Honest callers are served meanwhile.
async fn flooded(attack: &str, frame: impl FnMut(&mut Attacker, usize), log: &str) -> usize {
    let api = shop(10).await;
    let mut victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut attacker = Attacker::at(victim.address, &[]).await;
    let sent = attacker.flood(MANY, frame).await;
    let fate = attacker.closed().await;
    let got = format!("closed after {sent} frames at most, {} answers", fate.answers());
    victim.tell(attack, &got, before, LITTLE, &honest.fared().await);
    let line = victim.program.log("cut a connection").await;
    assert_eq!(line["message"], format!("cut a connection: {log}"));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    sent
}

const CALM: &str = "its frames are those of an attack (ENHANCE_YOUR_CALM)";
const OVERHEAD: &str = "more frames that carry nothing than --max-overhead-frames allows";

#[tokio::test]
async fn calls_that_are_taken_back_at_once_end_the_connection() {
    let reset = |attacker: &mut Attacker, index| {
        let stream = 2 * u32::try_from(index).unwrap() + 1;
        attacker.call(stream, GET_PRODUCT, SEVEN);
        attacker.frame(Frame::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    };
    flooded("rapid reset (CVE-2023-44487)", reset, CALM).await;
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let ping = |attacker: &mut Attacker, _| attacker.frame(Frame::PING, 0, 0, &[7; 8]);
    flooded("PING flood (CVE-2019-9512)", ping, OVERHEAD).await;
}

#[tokio::test]
async fn a_flood_of_settings_ends_the_connection() {
    let settings = |attacker: &mut Attacker, _| attacker.frame(Frame::SETTINGS, 0, 0, &[]);
    flooded("SETTINGS flood (CVE-2019-9515)", settings, OVERHEAD).await;
}

#[tokio::test]
async fn a_flood_of_answers_to_pings_that_nobody_sent_ends_the_connection() {
    let ack = |attacker: &mut Attacker, _| attacker.frame(Frame::PING, ACK, 0, &[7; 8]);
    flooded("flood of PING answers", ack, OVERHEAD).await;
}

#[tokio::test]
async fn a_flood_of_priorities_ends_the_connection() {
    let priority = |attacker: &mut Attacker, index: usize| {
        let on = u32::try_from(index % 100).unwrap() * 2 + 3;
        attacker.frame(PRIORITY, 0, 1, &[&on.to_be_bytes()[..], &[16]].concat());
    };
    flooded("PRIORITY flood (CVE-2019-9513)", priority, OVERHEAD).await;
}

#[tokio::test]
async fn a_flood_of_empty_data_ends_the_connection() {
    let data = |attacker: &mut Attacker, index| match index {
        0 => attacker.head(1, GET_PRODUCT, &[]),
        _ => attacker.frame(Frame::DATA, 0, 1, &[]),
    };
    flooded("flood of empty DATA (CVE-2019-9518)", data, CALM).await;
}

#[tokio::test]
async fn a_message_in_crumbs_ends_the_connection() {
    let data = |attacker: &mut Attacker, index| match index {
        0 => attacker.head(1, GET_PRODUCT, &[]),
        1 => attacker.frame(Frame::DATA, 0, 1, &framed(&[0; 4 << 20])[..5]),
        _ => attacker.frame(Frame::DATA, 0, 1, &[0]),
    };
    flooded("a message in DATA frames of one byte", data, CALM).await;
}

#[tokio::test]
async fn a_flood_of_windows_ends_the_connection() {
    let window = |attacker: &mut Attacker, _| attacker.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    flooded("WINDOW_UPDATE flood", window, OVERHEAD).await;
}

#[tokio::test]
async fn a_flood_of_frames_that_nobody_knows_ends_the_connection() {
    let unknown = |attacker: &mut Attacker, _| attacker.frame(0xfe, 0, 0, &[0; 16]);
    flooded("flood of unknown frames", unknown, OVERHEAD).await;
}

/// Those that were cut come back at once, with another flood.
#[tokio::test]
async fn attackers_that_come_back_again_and_again_do_not_shut_honest_callers_out() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let floods: [fn(&mut Attacker, usize); 4] = [
        |attacker, _| attacker.frame(Frame::PING, 0, 0, &[7; 8]),
        |attacker, _| attacker.frame(Frame::SETTINGS, 0, 0, &[]),
        |attacker, _| attacker.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        |attacker, index| {
            let stream = 2 * u32::try_from(index).unwrap() + 1;
            attacker.call(stream, GET_PRODUCT, SEVEN);
            attacker.frame(Frame::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        },
    ];
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let address = victim.address;
        attackers.spawn(async move {
            for round in 0..12 {
                let mut attacker = Attacker::at(address, &[]).await;
                attacker.flood(MANY, floods[(number + round) % 4]).await;
                attacker.closed().await;
            }
        });
    }
    attackers.join_all().await;
    let got = "96 connections cut";
    victim.tell("8 attackers that come back 12 times", got, before, LITTLE, &honest.fared().await);
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    let block = field(b"x", &[b'y'; 16_000]);
    let more = |attacker: &mut Attacker, index| match index {
        0 => attacker.frame(Frame::HEADERS, END_STREAM, 1, &attacker::call(GET_PRODUCT)),
        _ => attacker.frame(CONTINUATION, 0, 1, &block),
    };
    let sent = flooded("CONTINUATION flood (CVE-2024-27316)", more, CALM).await;
    // What fits into the buffers of a socket may have been sent before the end was seen.
    assert!(sent < 10_000, "{sent}");
}

#[tokio::test]
async fn headers_that_are_small_when_sent_and_large_when_read_are_refused() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut attacker = Attacker::at(victim.address, &[]).await;
    // Four thousand bytes that are sent once, and then named by one byte each.
    let bomb = [indexed_field(b"x", &[b'y'; 4000]), vec![0x80 | 62; 12_000]].concat();
    for stream in 0..100 {
        let block = [attacker::call(GET_PRODUCT), bomb.clone()].concat();
        attacker.frame(Frame::HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block);
        if attacker.send().await.is_err() {
            break;
        }
    }
    let fate = attacker.done().await;
    let got = format!("48 MB of headers in 16 KB refused, connection ended by GOAWAY {:?}", fate.goaway());
    victim.tell("HPACK bomb", &got, before, LITTLE, &honest.fared().await);
    assert!(fate.goaway().is_some(), "{fate:?}");
    let asked = api.calls().iter().filter(|seen| seen.headers.contains_key("x")).count();
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn more_calls_on_a_connection_than_may_be_are_refused_and_the_others_answered() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &["--max-concurrent-streams", "10"]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut attacker = Attacker::at(victim.address, &[]).await;
    for stream in 0..10_000 {
        attacker.head(2 * stream + 1, GET_PRODUCT, &[]);
    }
    let _ = attacker.send().await;
    let fate = attacker.done().await;
    let got = format!("10 of 10,000 begun, {} refused, ended by {:?}", fate.resets().len(), fate.goaway());
    victim.tell("calls beyond --max-concurrent-streams", &got, before, LITTLE, &honest.fared().await);
    let refused_or_calm =
        fate.resets().iter().all(|code| *code == 7) || fate.goaway() == Some(ENHANCE_YOUR_CALM);
    assert!(refused_or_calm, "{:?} {:?}", fate.resets(), fate.goaway());
}

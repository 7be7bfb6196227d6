//! Little, and that slowly.

use super::{
    Attacker, CANCEL, GET_PRODUCT, Honest, LIST_PRODUCTS, LITTLE, SEVEN, Victim,
    attacker::{INITIAL_WINDOW_SIZE, framed, idle, is_open},
    shop,
};
use crate::support::Frame;

/// Calls of one connection, none of whose answers is taken beyond what its window allows.
async fn takes_nothing(victim: &Victim, path: &str, window: u32, calls: u32) -> Attacker {
    let mut attacker = Attacker::at(victim.address, &[(INITIAL_WINDOW_SIZE, window)]).await;
    for stream in 0..calls {
        attacker.call(2 * stream + 1, path, if path == GET_PRODUCT { SEVEN } else { &[] });
    }
    attacker.send().await.unwrap();
    attacker
}

#[tokio::test]
async fn long_answers_that_are_not_taken_are_given_up_and_their_places_free() {
    let api = shop(200_000).await;
    let settings = ["--send-timeout", "300ms", "--max-in-flight", "60", "--max-in-flight-per-caller", "55"];
    let mut victim = Victim::before(&api, &settings).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    for window in [0, 1, 65_535] {
        let mut attacker = takes_nothing(&victim, LIST_PRODUCTS, window, 50).await;
        let fate = attacker.hears(|fate| fate.resets().len() == 50).await;
        assert_eq!((fate.resets(), fate.answers()), (vec![CANCEL; 50], 50), "{window}");
        // The others on this connection go on.
        attacker.frame(Frame::PING, 0, 0, &[9; 8]);
        attacker.send().await.unwrap();
        attacker
            .hears(|fate| {
                fate.frames.iter().any(|(_, frame)| frame.is(Frame::PING) && frame.payload == [9; 8][..])
            })
            .await;
    }
    let got = "each of 150 calls given up (RST_STREAM, CANCEL), which took 50 of 60 places meanwhile";
    victim.tell("long answers that are not taken", got, before, 2 * LITTLE, &honest.fared().await);
    victim.program.log("gave up a call: its caller does not take the answer (--send-timeout)").await;
}

#[tokio::test]
async fn a_connection_that_does_not_even_take_short_answers_is_cut() {
    let api = shop(10).await;
    let settings = ["--send-timeout", "300ms", "--max-in-flight", "60", "--max-in-flight-per-caller", "55"];
    let mut victim = Victim::before(&api, &settings).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let fate = takes_nothing(&victim, GET_PRODUCT, 1, 50).await.closed().await;
    assert_eq!(fate.answers(), 50);
    let got = "connection cut, which took 50 of 60 places meanwhile";
    victim.tell("short answers that are not taken", got, before, LITTLE, &honest.fared().await);
    let line = victim.program.log("cut a connection").await;
    assert_eq!(line["message"], "cut a connection: its caller does not take answers (--send-timeout)");
}

#[tokio::test]
async fn nobody_has_all_places_however_many_connections_it_makes() {
    let api = shop(10).await;
    let settings = ["--max-in-flight", "100", "--max-in-flight-per-caller", "50", "--receive-timeout", "1h"];
    let victim = Victim::before(&api, &settings).await;
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let mut attacker = Attacker::at(victim.address, &[]).await;
        for stream in 0..50 {
            attacker.head(2 * stream + 1, GET_PRODUCT, &[("grpc-timeout", "99999999H")]);
        }
        attacker.send().await.unwrap();
        attackers.push(attacker);
    }
    // A hundred and fifty are refused, whichever they are.
    while attackers.iter().map(|attacker| attacker.has_heard().answers()).sum::<usize>() < 150 {
        tokio::task::yield_now().await;
    }
    let mut other = Attacker::from([127, 0, 0, 2], victim.address).await;
    other.call(1, GET_PRODUCT, SEVEN);
    other.send().await.unwrap();
    let served = other.hears(|fate| fate.answers() == 2).await;
    assert!(served.frames.iter().any(|(_, frame)| frame.is(Frame::DATA)));
    assert_eq!(attackers.iter().map(|attacker| attacker.has_heard().answers()).sum::<usize>(), 150);
}

#[tokio::test]
async fn a_message_that_does_not_come_ends_its_call_whatever_time_the_caller_names() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &["--receive-timeout", "300ms"]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut attacker = Attacker::at(victim.address, &[]).await;
    for stream in 0..100 {
        attacker.head(2 * stream + 1, GET_PRODUCT, &[("grpc-timeout", "99999999H")]);
        attacker.frame(Frame::DATA, 0, 2 * stream + 1, &framed(SEVEN)[..6]);
    }
    attacker.send().await.unwrap();
    let fate = attacker.hears(|fate| fate.answers() == 100 && fate.resets().len() == 100).await;
    // The end of the message is not waited for (RFC 9113, section 8.1).
    assert_eq!(fate.resets(), vec![0; 100]);
    assert!(fate.frames.iter().all(|(_, frame)| !frame.is(Frame::DATA)));
    let got = "100 calls ended with DEADLINE_EXCEEDED";
    victim.tell("slow body", got, before, LITTLE, &honest.fared().await);
}

#[tokio::test]
async fn ten_thousand_idle_connections_leave_room_for_others() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut kept = Vec::new();
    for host in 0..10 {
        for _ in 0..1000 {
            kept.push(idle([127, 0, 1, host], victim.address).await.unwrap());
        }
    }
    // Those that were let in have been told so; the others were closed.
    let mut open = 0;
    for stream in &mut kept {
        open += usize::from(is_open(stream).await);
    }
    // Four places are those of the honest.
    assert_eq!(open, 9996);
    let got = "9996 connections, until they are idle for too long (--max-connection-idle)";
    victim.tell(
        "10,000 idle connections of ten addresses",
        got,
        before,
        10_000 * 30_000,
        &honest.fared().await,
    );
}

#[tokio::test]
async fn one_address_has_a_tenth_of_all_connections() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let mut kept = Vec::new();
    for _ in 0..1100 {
        kept.push(idle([127, 0, 2, 1], victim.address).await.unwrap());
    }
    let mut open = 0;
    for stream in &mut kept {
        open += usize::from(is_open(stream).await);
    }
    assert_eq!(open, 1000);
    // Others find a place.
    Honest::beside(&victim).await.fared().await;
}

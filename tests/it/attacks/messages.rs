//! Messages that are not what they say.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tonic::Code;

use super::{
    Attacker, FRAME_SIZE_ERROR, GET_PRODUCT, Honest, LITTLE, PROTOCOL_ERROR, SEVEN, Victim,
    attacker::{self, END_HEADERS, END_STREAM, field, framed},
    shop,
};
use crate::support::{Frame, raw_call, reason};

/// A hundred megabytes of nothing in a hundred kilobytes, as a compressed message.
fn bomb() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let megabyte = vec![0; 1 << 20];
    for _ in 0..100 {
        gzip.write_all(&megabyte).unwrap();
    }
    let mut bomb = framed(&gzip.finish().unwrap());
    bomb[0] = 1;
    bomb
}

#[tokio::test]
async fn a_bomb_of_gzip_is_refused_at_the_limit() {
    let api = shop(10).await;
    let (victim, bomb) = (Victim::before(&api, &[]).await, bomb());
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    for _ in 0..20 {
        let status = raw_call(victim.address, &[("grpc-encoding", "gzip")], bomb.clone()).await;
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned())
        );
    }
    let got = "20 times RESOURCE_EXHAUSTED after 4 MiB of each 100 MiB";
    victim.tell("gzip bomb", got, before, LITTLE, &honest.fared().await);
}

#[tokio::test]
async fn messages_that_lie_of_their_length_are_refused() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let lies: [(&str, &[u8], Code, &str); 5] = [
        ("nothing", &[], Code::Internal, "REQUEST_REFUSED"),
        ("half a prefix", &[0, 0, 0], Code::Internal, "REQUEST_REFUSED"),
        ("less than it says", &[0, 0, 0, 0, 9, 8, 7], Code::Internal, "REQUEST_REFUSED"),
        ("four gigabytes", &[0, 255, 255, 255, 255, 8, 7], Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        ("an unknown flag", &[7, 0, 0, 0, 2, 8, 7], Code::Internal, "REQUEST_REFUSED"),
    ];
    for (lie, frame, code, reason) in lies {
        let status = raw_call(victim.address, &[], frame.to_vec()).await;
        assert_eq!((status.code(), &*self::reason(&status)), (code, reason), "{lie}: {}", status.message());
    }
    victim.tell("gRPC frames that lie", "refused by code and reason", before, LITTLE, &honest.fared().await);
}

#[tokio::test]
async fn a_frame_that_is_larger_than_frames_may_be_ends_the_connection() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let mut attacker = Attacker::at(victim.address, &[]).await;
    attacker.head(1, GET_PRODUCT, &[]);
    attacker.frame(Frame::DATA, END_STREAM, 1, &vec![0; 16 * 1024 + 1]);
    let _ = attacker.send().await;
    let fate = attacker.closed().await;
    assert_eq!(fate.goaway(), Some(FRAME_SIZE_ERROR));
    victim.tell(
        "HTTP/2 frame of 16 KiB + 1",
        "GOAWAY, FRAME_SIZE_ERROR",
        before,
        LITTLE,
        &honest.fared().await,
    );
}

/// What would end a header and begin another, where headers are lines.
#[tokio::test]
async fn metadata_with_line_ends_is_refused_before_it_is_read() {
    let api = shop(10).await;
    let victim = Victim::before(&api, &[]).await;
    let honest = Honest::beside(&victim).await;
    let before = victim.used();
    let bad: [(&[u8], &[u8]); 6] = [
        (b"x-request-id", b"a\r\nx-admin: 1"),
        (b"x-request-id", b"a\nb"),
        (b"x-request-id", b"a\0b"),
        (b"x-evil\r\nx-admin", b"1"),
        (b"X-Upper", b"1"),
        (b"", b"1"),
    ];
    for (name, value) in bad {
        let mut attacker = Attacker::at(victim.address, &[]).await;
        let block = [attacker::call(GET_PRODUCT), field(name, value)].concat();
        attacker.frame(Frame::HEADERS, END_HEADERS, 1, &block);
        attacker.frame(Frame::DATA, END_STREAM, 1, &framed(SEVEN));
        let fate = attacker.done().await;
        let refused = fate.resets() == [PROTOCOL_ERROR] || fate.goaway() == Some(PROTOCOL_ERROR);
        assert!(refused && fate.answers() == 0, "{name:?}: {fate:?}");
    }
    victim.tell(
        "CR, LF and NUL in metadata",
        "RST_STREAM, PROTOCOL_ERROR",
        before,
        LITTLE,
        &honest.fared().await,
    );
}

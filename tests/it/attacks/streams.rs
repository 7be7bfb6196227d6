//! Calls whose frames break the rules of streams (RFC 9113), each of which ends it or its connection.
//!
//! h2spec breaks them too (`tests/e2e/h2spec.rs`), but not in calls of gRPC: what it sends is answered at the first frame, and then
//! what follows comes too late to be an error. Here the call still waits for its message.

use super::{
    Attacker, GET_PRODUCT, PROTOCOL_ERROR,
    attacker::{END_HEADERS, END_STREAM, WINDOW_UPDATE, call, field},
};
use crate::support::{Api, Bridge, Frame};

/// Codes of RFC 9113, section 7.
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
const LARGEST_WINDOW: [u8; 4] = 0x7fff_ffff_u32.to_be_bytes();

/// The beginning of a message, so that the call waits for the rest.
const BEGUN: &[u8] = &[0, 0, 0, 0, 9];

/// What breaks a rule: the code that has to come, headers of the call, and what follows them.
type Breach = (&'static str, u32, &'static [(&'static str, &'static str)], fn(&mut Attacker));

const BREACHES: [Breach; 7] = [
    ("8.1: a second HEADERS without END_STREAM", PROTOCOL_ERROR, &[], |attacker| {
        attacker.frame(Frame::DATA, 0, 1, BEGUN);
        attacker.frame(Frame::HEADERS, END_HEADERS, 1, &field(b"x-test", b"ok"));
    }),
    // As h2spec has it. Where this is the end of the stream, the h2 library leaves the field out, and takes the trailers.
    ("8.1: a pseudo-header field in trailers", PROTOCOL_ERROR, &[], |attacker| {
        attacker.frame(Frame::DATA, 0, 1, BEGUN);
        attacker.frame(Frame::HEADERS, END_HEADERS, 1, &field(b":method", b"POST"));
    }),
    ("8.1.1: less data than content-length", PROTOCOL_ERROR, &[("content-length", "9")], |attacker| {
        attacker.frame(Frame::DATA, END_STREAM, 1, BEGUN);
    }),
    ("8.1.1: more data than content-length", PROTOCOL_ERROR, &[("content-length", "5")], |attacker| {
        attacker.frame(Frame::DATA, 0, 1, BEGUN);
        attacker.frame(Frame::DATA, END_STREAM, 1, BEGUN);
    }),
    ("6.9.1: a window above 2^31-1", FLOW_CONTROL_ERROR, &[], |attacker| {
        attacker.frame(WINDOW_UPDATE, 0, 1, &LARGEST_WINDOW);
    }),
    ("5.1: DATA after RST_STREAM", STREAM_CLOSED, &[], |attacker| {
        attacker.frame(Frame::RST_STREAM, 0, 1, &CANCEL);
        attacker.frame(Frame::DATA, END_STREAM, 1, BEGUN);
    }),
    // The h2 library takes it for a new call under a number that is used up (section 5.1.1), which ends the connection.
    ("5.1: HEADERS after RST_STREAM", PROTOCOL_ERROR, &[], |attacker| {
        attacker.frame(Frame::RST_STREAM, 0, 1, &CANCEL);
        attacker.frame(Frame::HEADERS, END_HEADERS | END_STREAM, 1, &call(GET_PRODUCT));
    }),
];

#[tokio::test]
async fn a_call_that_breaks_a_rule_of_streams_is_ended_with_its_code() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    for (rule, code, headers, breaks) in BREACHES {
        let mut attacker = Attacker::at(bridge.address, &[]).await;
        attacker.head(1, GET_PRODUCT, headers);
        breaks(&mut attacker);
        attacker.send().await.unwrap();
        let fate = attacker.hears(|fate| !fate.resets().is_empty() || fate.goaway().is_some()).await;
        let codes = [fate.resets(), fate.goaway().into_iter().collect()].concat();
        assert_eq!((codes, fate.answers()), (vec![code], 0), "{rule}");
    }
    assert!(api.calls().is_empty());
}

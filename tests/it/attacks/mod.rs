//! What strangers do to hurt: each test attacks the program, a process of its own, while honest callers call it, and says
//! what the attacker got, what it cost, and how the honest fared (`cargo test attacks -- --nocapture`).

mod attacker;
mod floods;
mod injection;
mod messages;
mod slow;
mod streams;
mod victim;

use self::{
    attacker::Attacker,
    victim::{Honest, Victim},
};
use crate::support::{Api, json};

const GET_PRODUCT: &str = "/shop.v1.ProductService/GetProduct";
const LIST_PRODUCTS: &str = "/shop.v1.ProductService/ListProducts";
/// `id: 7`.
const SEVEN: &[u8] = &[8, 7];

/// The codes of RFC 9113, section 7.
const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What an attack may cost in memory, beside what honest callers cost: the buffers of a connection or two, and what the
/// allocator keeps.
const LITTLE: u64 = 24 << 20;

/// An API with one product that is small, and a list of this size.
async fn shop(list_bytes: usize) -> Api {
    let list = format!(r#"{{"products":[{{"title":"{}"}}]}}"#, "x".repeat(list_bytes));
    Api::answering(move |seen| {
        let list = list.clone();
        async move { json(200, if seen.uri == "/products" { list } else { "{}".to_owned() }) }
    })
    .await
}

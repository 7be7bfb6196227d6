//! The embedded shop API: what the real one answers, in process, so that one command shows everything.
//!
//! Beside the generated stubs and the command `demo`, it is the only file that knows what a product is. Ids from 1 to [`PRODUCTS`] exist; [`SLOW_ID`] exists
//! and takes its time; an id below 1 fails validation; every other is not found.

use std::{io, time::Duration};

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many products there are; they have the ids from 1.
pub const PRODUCTS: i64 = 50;
/// A product that the shop takes longer to find than a caller waits by default.
pub const SLOW_ID: i64 = 999;
const SLOW: Duration = Duration::from_secs(30);

const BREWS: [&str; 7] = ["Espresso", "Ristretto", "Lungo", "Cortado", "Flat White", "Macchiato", "Affogato"];
const PLACES: [&str; 6] = ["Antigua", "Sidamo", "Huila", "Minas Gerais", "Yirgacheffe", "Kona"];
const BUYERS: [&str; 5] = ["Ada Byron", "Grace Hopper", "Zoë Müller", "李雷", "Msgr. Arron Morissette"];
const OPINIONS: [&str; 4] =
    ["Nisi est ut consequatur.", "Would buy again.", "Très bon.", "Too dark for my taste."];

/// Serves the shop API on `listener` until it is dropped.
///
/// # Errors
/// The socket cannot be served.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    axum::serve(listener, router()).await
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { Json(json!({"status": "up"})) }))
        .route("/products", get(list))
        .route("/products/{id}", get(show))
        .fallback(|| async { not_found() })
}

async fn list(headers: HeaderMap) -> Response {
    let products: Vec<Value> = (1..=PRODUCTS).map(product).collect();
    answer(StatusCode::OK, &headers, json!({"products": products}))
}

async fn show(Path(id): Path<String>, headers: HeaderMap) -> Response {
    match id.parse() {
        Ok(SLOW_ID) => {
            tokio::time::sleep(SLOW).await;
            answer(StatusCode::OK, &headers, json!({"product": product(1)}))
        }
        Ok(id @ 1..=PRODUCTS) => answer(StatusCode::OK, &headers, json!({"product": product(id)})),
        Ok(..1) => {
            let errors = json!({"errors": {"id": ["must be greater than 0"]}});
            answer(StatusCode::UNPROCESSABLE_ENTITY, &headers, errors)
        }
        _ => not_found(),
    }
}

/// What Rails' `PublicExceptions` answers.
fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"status": 404, "error": "Not Found"}))).into_response()
}

fn answer(status: StatusCode, request: &HeaderMap, body: Value) -> Response {
    let id = HeaderName::from_static("x-request-id");
    let echo = request.get(&id).cloned().map(|value| [(id, value)]);
    (status, HeaderMap::from_iter(echo.into_iter().flatten()), Json(body)).into_response()
}

/// The three products of the real shop, and made-up ones after them. Like there, they carry no id.
fn product(id: i64) -> Value {
    match id {
        1 => json!({"title": "Veranda Symphony", "price": "83.84", "reviews": [review(4)]}),
        2 => json!({"title": "Pumpkin-spice Cake", "price": "76.56", "reviews": []}),
        3 => json!({"title": "Café Volcano", "price": "31.24", "reviews": [review(5), review(6), review(7)]}),
        id => json!({
            "title": format!("{} {}", pick(&PLACES, id), pick(&BREWS, id)),
            "price": format!("{}.{:02}", 5 + id * 7 % 40, id * 13 % 100),
            "reviews": (0..id % 4).map(|nth| review(id * 4 + nth)).collect::<Vec<_>>(),
        }),
    }
}

fn review(id: i64) -> Value {
    json!({
        "id": id,
        "name": pick(&BUYERS, id),
        "message": pick(&OPINIONS, id),
        // Ruby writes whole floats with ".0".
        "rate": 1.0 + (id * 5 % 9) as f64 / 2.0,
    })
}

fn pick<'a>(from: &[&'a str], id: i64) -> &'a str {
    from[usize::try_from(id).unwrap_or_default() % from.len()]
}

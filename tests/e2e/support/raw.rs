//! A gRPC call without a gRPC client.

use bytes::{BufMut, Bytes};
use http::{Request, header};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tonic::Status;

use super::{Bridge, within_patience};
use grpc_rest_bridge::shop::v1::GetProductRequest;

/// Gets a product with this very `grpc-timeout`, and gives the status that the bridge refuses it with.
///
/// A real client sends the header too, but gives up at the same moment by itself; this one waits to hear what
/// the bridge says.
pub(crate) async fn call_with_timeout(bridge: &Bridge, id: i64, timeout: &str) -> Status {
    let stream = TcpStream::connect(bridge.address()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);

    let message = GetProductRequest { id }.encode_to_vec();
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(&message);
    let request = Request::post(format!("http://{}/shop.v1.ProductService/GetProduct", bridge.address()))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    let answer = within_patience("the answer", sender.send_request(request), || bridge.last_lines()).await;
    Status::from_header_map(answer.unwrap().headers()).expect("a refusal has its status in the head")
}

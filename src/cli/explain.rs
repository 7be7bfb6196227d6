//! `explain`: what a call becomes, without making it.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tonic::Status;

use super::{
    Exit,
    input::Input,
    print,
    reader::{self, Faults, Reader, any_path},
    settings::{FileSettings, SourceSettings, StrictSettings},
    visible, visible_lines,
};
use crate::{
    bridge::Bridge,
    config::{InboundConfig, UpstreamConfig},
    contract::Contract,
    error::status::code_name,
    fault::Fault,
    transcode::{Encoded, ProtoJson, Strictness, Tolerated},
    upstream::Upstream,
};

/// Print the REST request that a call would send, or what its caller would get from an answer
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The method: package.Service/Method, or the method alone where that is enough
    method: String,
    /// The request message as ProtoJSON; - reads it from standard input
    #[arg(default_value = "{}")]
    json: String,
    /// A file with the body of an answer of the API: prints what the caller would get
    #[arg(long, env = "BRIDGE_ANSWER", value_parser = any_path(), value_name = "FILE")]
    answer: Option<PathBuf>,
    /// The HTTP status of that answer
    #[arg(long, env = "BRIDGE_STATUS", value_name = "CODE", default_value = "200")]
    status: String,
    /// The Content-Type of that answer
    #[arg(long, env = "BRIDGE_CONTENT_TYPE", value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    #[command(flatten)]
    file: FileSettings,
    #[command(flatten)]
    strict: StrictSettings,
    #[command(flatten)]
    source: SourceSettings,
}

/// The answer of the API as the command line has it, and how it is read.
struct Given<'a> {
    file: Option<&'a Path>,
    status: StatusCode,
    content_type: HeaderValue,
    strict: Strictness,
}

/// A call that is looked at.
struct Explained {
    bridge: Bridge,
    method: usize,
    text: ProtoJson,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Result<Exit, Faults> {
    let settings = reader::both(args.file.check(input), args.given(input));
    let (((), given), contract) = reader::both(settings, args.source.contract(input))?;
    let method = method(&contract, &args.method)?;
    let text = ProtoJson::of(&contract);
    let explained = Explained { text, method, bridge: offline(contract, given.strict)? };
    if let Err(status) = explained.bridge.serves(explained.method) {
        return Ok(refused(&status));
    }
    let message = explained.read(&request_text(&args.json)?)?;
    let encoded = match explained.bridge.request_of(method, &message) {
        Ok(encoded) => encoded,
        Err(status) => return Ok(refused(&status)),
    };
    let Some(file) = given.file else { return Ok(print(&request(&encoded.request))) };
    let body = fs::read(file).map_err(|error| {
        let what = format!("cannot be read: {error}");
        Faults::of_files(vec![Fault::new(
            file.display().to_string(),
            what,
            "name a file with the body of an answer",
        )])
    })?;
    Ok(explained.answer(&encoded, given, body.into()))
}

/// The method that `name` means.
pub(super) fn method(contract: &Contract, name: &str) -> Result<usize, Faults> {
    contract.method_named(name).map_err(|known| {
        let mend = format!("it could be: {}", known.join(", "));
        Faults::of_arguments(vec![Fault::new("METHOD", format!("there is no one method {name:?}"), mend)])
    })
}

/// A bridge that will never send anything.
fn offline(contract: Contract, strict: Strictness) -> Result<Bridge, Faults> {
    let config = UpstreamConfig { strict, ..UpstreamConfig::new("http://localhost".parse().expect("a URL")) };
    let upstream = Upstream::new(&config).map_err(Faults::of_files)?;
    Bridge::new(contract, upstream, InboundConfig::default(), &config).map_err(Faults::of_files)
}

fn request_text(json: &str) -> Result<Vec<u8>, Faults> {
    if json != "-" {
        return Ok(json.as_bytes().to_vec());
    }
    let mut text = Vec::new();
    match io::stdin().lock().read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let what = format!("cannot be read: {error}");
            Err(Faults::of_files(vec![Fault::new(
                "standard input",
                what,
                "give the request message as JSON",
            )]))
        }
    }
}

// === impl Args ===

impl Args {
    /// The answer that is given, without its body.
    fn given(&self, input: &Input<'_>) -> Result<Given<'_>, Faults> {
        let mut read = Reader::new(input);
        let file = read.path("answer", self.answer.as_deref(), "name a file with the body of an answer");
        for id in ["status", "content_type"] {
            if self.answer.is_none() && read.is_set(id) {
                read.fault(
                    id,
                    "stands without --answer".to_owned(),
                    "give the body of the answer as --answer",
                );
            }
        }
        let mend = "write an HTTP status from 100 to 599";
        let status = read.value("status", &self.status, mend, |text| {
            text.parse().ok().filter(|status: &StatusCode| status.as_u16() < 600)
        });
        let mend = "write a media type, such as application/json";
        let content_type = read.value("content_type", &self.content_type, mend, |text| text.parse().ok());
        let strict = self.strict.read(&mut read);
        match (status, content_type, strict) {
            (Some(status), Some(content_type), Some(strict)) if read.faults.is_empty() => {
                Ok(Given { file, status, content_type, strict })
            }
            _ => Err(read.faults),
        }
    }
}

// === impl Explained ===

impl Explained {
    fn contract(&self) -> &Contract {
        self.bridge.contract()
    }

    /// The request message that a text spells.
    fn read(&self, json: &[u8]) -> Result<Bytes, Faults> {
        let input = self.contract().methods()[self.method].descriptor().input();
        self.text.read(&input, json).map_err(|mismatch| {
            let mend = format!("write a {} as ProtoJSON", input.full_name());
            Faults::of_arguments(vec![Fault::new("JSON", mismatch.to_string(), mend)])
        })
    }

    /// What the caller gets from an answer.
    fn answer(&self, encoded: &Encoded, given: Given<'_>, body: Bytes) -> Exit {
        let mut answer = Response::new(body);
        *answer.status_mut() = given.status;
        answer.headers_mut().insert(header::CONTENT_TYPE, given.content_type);
        let decoded = match self.bridge.message_of(self.method, encoded, &answer) {
            Ok(decoded) => decoded,
            Err(status) => return refused(&status),
        };
        let output = self.contract().methods()[self.method].descriptor().output();
        match self.text.write(&output, &decoded.message) {
            Ok(json) => {
                tell_tolerated(&decoded.tolerated);
                print(&pretty(&json))
            }
            Err(error) => Exit::Failed(format!("the message cannot be shown: {error}")),
        }
    }
}

/// Tells on standard error, so that standard output is the message and nothing else.
fn tell_tolerated(tolerated: &Tolerated) {
    if !tolerated.is_empty() {
        // Who has closed standard error does not want to know.
        let _ = writeln!(io::stderr(), "tolerated in the answer: {tolerated}");
    }
}

/// The request as HTTP/1.1 writes it, without what belongs to the connection.
fn request(request: &Request<Bytes>) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    if !request.body().is_empty() {
        text.push_str(&format!("\n{}\n", String::from_utf8_lossy(request.body())));
    }
    text
}

/// A failed call as its caller sees it.
fn refused(status: &Status) -> Exit {
    let shop = Contract::embedded();
    // The embedded contract has google.rpc, whose details a status carries.
    let descriptor = shop.pool().get_message_by_name("google.rpc.Status");
    let details = descriptor.and_then(|descriptor| {
        let json = ProtoJson::of(&shop).write(&descriptor, status.details()).ok()?;
        Some(pretty(&json))
    });
    let details = details.unwrap_or_default();
    match print(&format!("{}: {}\n{details}", code_name(status.code()), visible(status.message()))) {
        Exit::Clean => Exit::No,
        failed => failed,
    }
}

/// JSON on several lines, without characters that a terminal obeys.
pub(super) fn pretty(json: &[u8]) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut text);
    let pretty = serde_transcode::transcode(&mut reader, &mut writer).is_ok();
    let text = if pretty { &text } else { json };
    format!("{}\n", visible_lines(&String::from_utf8_lossy(text)))
}

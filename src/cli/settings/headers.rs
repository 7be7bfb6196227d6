//! Which headers pass the bridge, and in which direction.

use http::HeaderName;

use crate::{cli::reader::Reader, config::HeaderConfig};

/// The settings of headers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Headers")]
pub(super) struct HeaderSettings {
    /// The metadata of callers that the API gets as headers: accept-language,x-tenant [default: none]
    #[arg(long, env = "BRIDGE_REQUEST_HEADERS", value_name = "NAME", value_delimiter = ',')]
    request_headers: Vec<String>,
    /// The headers of the API's answers that callers get as metadata: link,x-total-count [default: none]
    #[arg(long, env = "BRIDGE_RESPONSE_HEADERS", value_name = "NAME", value_delimiter = ',')]
    response_headers: Vec<String>,
    /// How many proxies before the bridge are trusted to have added an address to X-Forwarded-For, which the API is told then (or none)
    #[arg(long, env = "BRIDGE_FORWARDED_FOR", value_name = "HOPS", default_value = "none")]
    forwarded_for: String,
    /// The header that tells the API the name which a caller has proved: x-caller [default: it is not told]
    #[arg(long, env = "BRIDGE_CALLER_HEADER", value_name = "NAME")]
    caller_header: Option<String>,
}

/// Why a header never passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Never {
    /// It is of one connection (RFC 9110, section 7.6.1).
    OfTheConnection,
    /// It is of gRPC, or describes a message.
    OfTheMessage,
    /// It is a secret.
    Secret,
    /// The bridge says that itself.
    OfTheBridge,
    /// It claims where a call came from.
    Claim,
}

const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const OF_THE_MESSAGE: [&str; 6] = ["accept", "accept-encoding", "accept-ranges", "date", "expect", "range"];
const SECRETS: [&str; 8] = [
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "x-api-key",
    "x-forwarded-authorization",
];
const OF_THE_BRIDGE: [&str; 4] = ["cache-status", "host", "user-agent", "x-request-id"];
const CLAIMS: [&str; 6] =
    ["client-ip", "forwarded", "true-client-ip", "x-apigateway-api-userinfo", "x-client-ip", "x-real-ip"];
/// What stands at the beginning of other names like these.
const BEGINNINGS: [(&str, Never); 4] = [
    ("grpc-", Never::OfTheMessage),
    ("content-", Never::OfTheMessage),
    ("if-", Never::OfTheMessage),
    ("x-forwarded-", Never::Claim),
];

// === impl HeaderSettings ===

impl HeaderSettings {
    /// The typed settings. `has_credential` says that the bridge proves itself to the API.
    pub(super) fn resolve(&self, read: &mut Reader<'_>, has_credential: bool) -> Option<HeaderConfig> {
        let to_api = names(read, "request_headers", &self.request_headers);
        if has_credential && to_api.contains(&http::header::AUTHORIZATION) {
            let mend = "leave it out: the API can be shown one credential";
            read.fault(
                "request_headers",
                "sends authorization on, where the bridge has its own".to_owned(),
                mend,
            );
        }
        let to_caller = names(read, "response_headers", &self.response_headers);
        let hops = "write the number of proxies before the bridge, from 0 to 16, or none";
        let forwarded_for = read.value("forwarded_for", &self.forwarded_for, hops, |text| match text {
            "none" => Some(None),
            text => text.parse().ok().filter(|hops| *hops <= 16).map(Some),
        });
        let caller =
            self.caller_header.as_ref().map(|name| names(read, "caller_header", std::slice::from_ref(name)));
        let caller = caller.and_then(|names| names.into_iter().next());
        if caller.as_ref().is_some_and(|name| to_api.contains(name) || *name == http::header::AUTHORIZATION) {
            let what = "is what callers may send themselves".to_owned();
            read.fault("caller_header", what, "name a header that nobody else sends, such as x-caller");
        }
        Some(HeaderConfig { to_api, to_caller, forwarded_for: forwarded_for?, caller })
    }
}

/// The names of a list, or a fault for each that cannot pass.
fn names(read: &mut Reader<'_>, id: &str, texts: &[String]) -> Vec<HeaderName> {
    let mend = "write names of headers, such as x-tenant";
    let texts = read.list(id, texts, mend);
    let mut names = Vec::new();
    for text in texts {
        let Some(name) = read.value(id, text, mend, |text| text.parse::<HeaderName>().ok()) else { continue };
        match never(name.as_str()) {
            None if names.contains(&name) => {
                read.fault(id, format!("{name} stands there twice"), "write it once")
            }
            None => names.push(name),
            Some(why) => read.fault(id, format!("{name} never passes: {}", why.in_words()), "leave it out"),
        }
    }
    names
}

fn never(name: &str) -> Option<Never> {
    let lists: [(&[&str], Never); 5] = [
        (&OF_THE_CONNECTION, Never::OfTheConnection),
        (&OF_THE_MESSAGE, Never::OfTheMessage),
        (&SECRETS, Never::Secret),
        (&OF_THE_BRIDGE, Never::OfTheBridge),
        (&CLAIMS, Never::Claim),
    ];
    let listed = lists.into_iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| why);
    let begun = || BEGINNINGS.into_iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, why)| why);
    // Metadata of bytes, which HTTP has not.
    listed.or_else(begun).or_else(|| name.ends_with("-bin").then_some(Never::OfTheMessage))
}

// === impl Never ===

impl Never {
    fn in_words(self) -> &'static str {
        match self {
            Self::OfTheConnection => "it is of one connection",
            Self::OfTheMessage => "it is of gRPC, or describes a message",
            Self::Secret => "it is a secret of the caller or of the API",
            Self::OfTheBridge => "the bridge says that itself",
            Self::Claim => {
                "it claims who called, which the bridge has to know better (--forwarded-for, --caller-header)"
            }
        }
    }
}

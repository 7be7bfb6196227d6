//! `check`: is the contract sound, and does the API answer as it says?

use std::collections::HashMap;

use bytes::Bytes;
use clap::ArgMatches;
use serde::Serialize;

use super::{
    Exit, explain, print,
    reader::{self, Faults, Reader},
    serve::block_on,
    settings::UpstreamSettings,
    source::SourceSettings,
};
use crate::{
    bridge::Bridge,
    config::{InboundConfig, UpstreamConfig},
    contract::Contract,
    drift::{self, Checked, Outcome},
    fault::Fault,
    transcode::{ProtoJson, Strictness},
    upstream::Upstream,
};

/// Check a contract, and with --upstream also whether the API answers as it says
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The request message to call a method with, as METHOD=JSON; without one only a GET without path variables is called
    #[arg(long, value_name = "METHOD=JSON")]
    example: Vec<String>,
    /// What makes the check fail: misfit (a call would fail), drift (anything that differs)
    #[arg(long, env = "BRIDGE_FAIL_ON", value_name = "WHAT", default_value = "misfit")]
    fail_on: String,
    /// How to report (text, json)
    #[arg(long, env = "BRIDGE_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: String,
    #[command(flatten)]
    source: SourceSettings,
    #[command(flatten)]
    upstream: UpstreamSettings,
}

/// How to judge and how to tell.
#[derive(Debug, Clone, Copy)]
struct Manner {
    fail_on_drift: bool,
    json: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report<'a> {
    passed: bool,
    services: &'a [String],
    methods: usize,
    faults: Vec<Note>,
    warnings: Vec<Note>,
    calls: &'a [Checked],
}

/// A fault or a warning of the contract.
#[derive(Debug, Serialize)]
struct Note {
    place: String,
    what: String,
    mend: String,
}

pub(super) fn run(args: &Args, matches: &ArgMatches) -> Result<Exit, Faults> {
    let (manner, upstream) = reader::both(args.manner(matches), args.upstream.config(matches))?;
    let contract = match args.source.contract(matches) {
        Err(faults) if manner.json && !faults.command_line => return Ok(told_as_json(&faults)),
        contract => contract?,
    };
    let examples = args.examples(&contract)?;
    match upstream {
        None => Ok(tell(manner, &contract, &[])),
        Some(upstream) => {
            let bridge = bridge(contract, &upstream)?;
            let checked = async {
                let mut checked = Vec::new();
                for method in 0..bridge.contract().methods().len() {
                    checked.push(drift::check(&bridge, method, examples.get(&method)).await);
                }
                Ok(tell(manner, bridge.contract(), &checked))
            };
            Ok(block_on(checked))
        }
    }
}

/// What the API drifts by is what is looked for, so nothing is refused on the way.
fn bridge(contract: Contract, upstream: &UpstreamConfig) -> Result<Bridge, Faults> {
    let client = Upstream::new(upstream).map_err(|fault| Faults::of_files(vec![fault]))?;
    let strict: Strictness = upstream.strict;
    Ok(Bridge::new(contract, client, InboundConfig::default(), strict))
}

// === impl Args ===

impl Args {
    fn manner(&self, matches: &ArgMatches) -> Result<Manner, Faults> {
        let mut read = Reader { matches, faults: Faults::default() };
        let fail_on = read
            .value("fail_on", &self.fail_on, "write misfit or drift", |text| one_of(text, "misfit", "drift"));
        let json =
            read.value("format", &self.format, "write text or json", |text| one_of(text, "text", "json"));
        match (fail_on, json) {
            (Some(fail_on_drift), Some(json)) => Ok(Manner { fail_on_drift, json }),
            _ => Err(read.faults),
        }
    }

    /// The request messages by the indices of their methods.
    fn examples(&self, contract: &Contract) -> Result<HashMap<usize, Bytes>, Faults> {
        let text = ProtoJson::of(contract);
        let mut examples = HashMap::new();
        let mut faults = Vec::new();
        for example in &self.example {
            match self::example(contract, &text, example) {
                Ok((method, message)) => drop(examples.insert(method, message)),
                Err(more) => faults.extend(more.faults),
            }
        }
        if faults.is_empty() { Ok(examples) } else { Err(Faults::of_arguments(faults)) }
    }
}

fn example(contract: &Contract, text: &ProtoJson, example: &str) -> Result<(usize, Bytes), Faults> {
    let fault = |what: String, mend: &str| Faults::of_arguments(vec![Fault::new("--example", what, mend)]);
    let Some((name, json)) = example.split_once('=') else {
        return Err(fault(
            format!("{example:?} has no ="),
            "write METHOD=JSON, such as GetProduct={\"id\":1}",
        ));
    };
    let method = explain::method(contract, name)?;
    let input = contract.methods()[method].descriptor().input();
    let message = text.read(&input, json.as_bytes());
    let message = message.map_err(|mismatch| {
        fault(format!("{name}: {mismatch}"), &format!("write a {} as ProtoJSON", input.full_name()))
    })?;
    Ok((method, message))
}

/// Whether it is the second of the two.
fn one_of(text: &str, first: &str, second: &str) -> Option<bool> {
    match text {
        text if text == first => Some(false),
        text if text == second => Some(true),
        _ => None,
    }
}

fn told_as_json(faults: &Faults) -> Exit {
    let notes = notes(&faults.faults);
    let report =
        Report { passed: false, services: &[], methods: 0, faults: notes, warnings: Vec::new(), calls: &[] };
    match print(&as_json(&report)) {
        Exit::Clean => Exit::Faults { faults: Vec::new(), command_line: false },
        failed => failed,
    }
}

fn tell(manner: Manner, contract: &Contract, calls: &[Checked]) -> Exit {
    let passed = calls.iter().all(|call| match call.outcome {
        Outcome::Fits | Outcome::Skipped => true,
        Outcome::Drifts => !manner.fail_on_drift,
        Outcome::Fails => false,
    });
    let report = Report {
        passed,
        services: contract.services(),
        methods: contract.methods().len(),
        faults: Vec::new(),
        warnings: notes(&contract.warnings()),
        calls,
    };
    match print(&if manner.json { as_json(&report) } else { as_text(&report, contract) }) {
        Exit::Clean if !passed => Exit::Failed("the API does not answer as the contract says".to_owned()),
        exit => exit,
    }
}

fn notes(faults: &[Fault]) -> Vec<Note> {
    let note = |fault: &Fault| Note {
        place: fault.place.clone(),
        what: fault.what.clone(),
        mend: fault.mend.clone(),
    };
    faults.iter().map(note).collect()
}

fn as_json(report: &Report<'_>) -> String {
    let json = serde_json::to_string_pretty(report).expect("a report is made of texts and numbers");
    format!("{json}\n")
}

fn as_text(report: &Report<'_>, contract: &Contract) -> String {
    let (services, methods) = (report.services.len(), report.methods);
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let mut text = format!(
        "the contract is sound: {services} service{}, {methods} method{}\n",
        plural(services),
        plural(methods)
    );
    for warning in contract.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for call in report.calls {
        text.push_str(&call_text(call));
    }
    text
}

fn call_text(call: &Checked) -> String {
    let outcome = match call.outcome {
        Outcome::Fits => "fits",
        Outcome::Drifts => "drifts",
        Outcome::Fails => "FAILS",
        Outcome::Skipped => "skipped",
    };
    let request = call.request.as_ref().map(|request| format!(", {request}")).unwrap_or_default();
    let status = call.status.map(|status| format!(", {status}")).unwrap_or_default();
    let why = call.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let mut text = format!("{outcome:<8}{}{request}{status}{why}\n", call.method);
    for found in &call.findings {
        let what = found.what.as_ref().map(|what| format!(": {what}")).unwrap_or_default();
        let times =
            if found.count == 1 { String::new() } else { format!("{} times, first at ", found.count) };
        let path = if found.path.is_empty() { "(the answer)" } else { &found.path };
        text.push_str(&format!(
            "        {path}: {}{what} ({times}line {}, column {})\n",
            found.kind, found.line, found.column
        ));
    }
    text
}

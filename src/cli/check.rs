//! `check`: is the contract sound, and does the API answer as it says?

use std::{collections::HashMap, fmt};

use bytes::Bytes;
use serde::Serialize;

use super::{
    Exit, explain,
    input::Input,
    print,
    reader::{self, Faults, Reader},
    serve::block_on,
    settings::{FileSettings, SourceSettings, UpstreamSettings},
    visible, visible_lines,
};
use crate::{
    bridge::Bridge,
    config::{InboundConfig, RELOAD_INTERVAL, UpstreamConfig},
    contract::{Contract, Method},
    drift::{self, Checked, Outcome},
    fault::{self, Fault},
    transcode::ProtoJson,
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
    file: FileSettings,
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
    totals: Totals,
}

/// How many methods went which way.
#[derive(Debug, Default, Serialize)]
struct Totals {
    fits: usize,
    drifts: usize,
    fails: usize,
    skipped: usize,
}

/// A fault or a warning of the contract.
#[derive(Debug, Serialize)]
struct Note {
    place: String,
    what: String,
    mend: String,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Result<Exit, Faults> {
    let settings = reader::both(args.manner(input), args.upstream.config(input));
    let ((), (manner, upstream)) = reader::both(args.file.check(input), settings)?;
    let contract = match args.source.contract(input) {
        Err(faults) if manner.json && !faults.command_line => return Ok(told_as_json(&faults)),
        contract => contract?,
    };
    let examples = args.examples(&contract, upstream.is_some())?;
    match upstream {
        None => Ok(tell(manner, &contract, &[])),
        Some(config) => {
            let client = Upstream::new(&config).map_err(Faults::of_files)?;
            let bridge = bridge(contract, client.clone(), &config)?;
            let checked = async {
                // A credential may have to be asked for first; it is good for longer than a check takes.
                tokio::select! {
                    () = client.ready() => {}
                    () = client.follow(RELOAD_INTERVAL) => {}
                }
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
fn bridge(contract: Contract, client: Upstream, config: &UpstreamConfig) -> Result<Bridge, Faults> {
    Bridge::new(contract, client, InboundConfig::default(), config).map_err(Faults::of_files)
}

// === impl Args ===

impl Args {
    fn manner(&self, input: &Input<'_>) -> Result<Manner, Faults> {
        let mut read = Reader::new(input);
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
    fn examples(&self, contract: &Contract, called: bool) -> Result<HashMap<usize, Bytes>, Faults> {
        if !called && !self.example.is_empty() {
            let mend = "name the API that is to be called as --upstream";
            return Err(Faults::of_arguments(vec![Fault::new(
                "--example",
                "stands without --upstream",
                mend,
            )]));
        }
        let text = ProtoJson::of(contract);
        let mut examples = HashMap::new();
        let mut faults = Vec::new();
        for example in &self.example {
            match self::example(contract, &text, example) {
                Ok((method, message)) => {
                    if examples.insert(method, message).is_some() {
                        faults.push(given_twice(&contract.methods()[method]));
                    }
                }
                Err(more) => faults.extend(more.faults),
            }
        }
        if faults.is_empty() { Ok(examples) } else { Err(Faults::of_arguments(faults)) }
    }
}

fn given_twice(method: &Method) -> Fault {
    Fault::new("--example", format!("{} is given twice", method.name()), "give one example for each method")
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
    if let Some(why) = drift::never(&contract.methods()[method]) {
        return Err(fault(format!("{name} is never called: {why}"), "take the example away"));
    }
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

// === impl Totals ===

impl Totals {
    fn of(calls: &[Checked]) -> Self {
        let count = |outcome| calls.iter().filter(|call| call.outcome == outcome).count();
        Self {
            fits: count(Outcome::Fits),
            drifts: count(Outcome::Drifts),
            fails: count(Outcome::Fails),
            skipped: count(Outcome::Skipped),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |count: usize, verb: &str| format!("{count} {verb}{}", if count == 1 { "s" } else { "" });
        let Self { fits, drifts, fails, skipped } = *self;
        let all = [
            (fits, verb(fits, "fit")),
            (drifts, verb(drifts, "drift")),
            (fails, verb(fails, "fail")),
            (skipped, format!("{skipped} skipped")),
        ];
        let told: Vec<_> = all.into_iter().filter(|(count, _)| *count > 0).map(|(_, told)| told).collect();
        f.write_str(&told.join(", "))?;
        if fits + drifts + fails == 0 { f.write_str(": nothing was checked") } else { Ok(()) }
    }
}

fn told_as_json(faults: &Faults) -> Exit {
    let notes = notes(&fault::told(&faults.faults));
    let report = Report {
        passed: false,
        services: &[],
        methods: 0,
        faults: notes,
        warnings: Vec::new(),
        calls: &[],
        totals: Totals::default(),
    };
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
        totals: Totals::of(calls),
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
    // JSON leaves DEL and what follows it as it is.
    format!("{}\n", visible_lines(&json))
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
    if !report.calls.is_empty() {
        text.push_str(&format!("{}\n", report.totals));
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
    let why = call.why.as_ref().map(|why| format!(": {}", visible(why))).unwrap_or_default();
    let mut text = format!("{outcome:<8}{}{request}{status}{why}\n", call.method);
    for found in &call.findings {
        let what = found.what.as_ref().map(|what| format!(": {}", visible(what))).unwrap_or_default();
        let times =
            if found.count == 1 { String::new() } else { format!("{} times, first at ", found.count) };
        let path = if found.path.is_empty() { "(the answer)".to_owned() } else { visible(&found.path) };
        text.push_str(&format!(
            "        {path}: {}{what} ({times}line {}, column {})\n",
            found.kind, found.line, found.column
        ));
    }
    if call.more_findings > 0 {
        text.push_str(&format!("        and {} more\n", call.more_findings));
    }
    text
}

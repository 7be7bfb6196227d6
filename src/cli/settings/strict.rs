//! What is not tolerated in an answer.

use crate::{
    cli::reader::Reader,
    transcode::{Strictness, Tolerance},
};

/// The setting of what is not tolerated.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Upstream")]
pub(in crate::cli) struct StrictSettings {
    /// What to refuse in an answer instead of tolerating and counting it (names, proto-json, all)
    #[arg(long, env = "BRIDGE_STRICT_JSON", value_name = "NAMES", value_delimiter = ',')]
    strict_json: Vec<String>,
}

// === impl StrictSettings ===

impl StrictSettings {
    /// What is refused in an answer.
    pub(in crate::cli) fn read(&self, read: &mut Reader<'_>) -> Option<Strictness> {
        let names = Tolerance::ALL.map(Tolerance::name).join(", ");
        let mend = format!("write proto-json, all, or some of {names}");
        let mut strict = Some(Strictness::default());
        for name in read.list("strict_json", &self.strict_json, &mend) {
            let more = read.value("strict_json", name, &mend, |name| match name {
                "proto-json" => Some(Strictness::PROTO_JSON),
                "all" => Some(Strictness::ALL),
                name => Tolerance::named(name).map(|tolerance| Strictness::default().with(tolerance)),
            });
            strict = strict.zip(more).map(|(strict, more)| strict.and(more));
        }
        strict
    }
}

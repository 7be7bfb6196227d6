//! Logs: readable on a terminal, one JSON object a line elsewhere, in the fields of Cloud Logging.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::SystemTime,
};

use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For Cloud Logging and its like.
    Json,
}

/// Writes the logs of the process to standard output from now on. `levels` may name targets, such as
/// `info,access=warn`.
pub fn init(levels: Targets, format: LogFormat) {
    let levels = without_noise(levels);
    let terminal = io::stdout().is_terminal();
    let layer = tracing_subscriber::fmt::layer();
    let layer = if format == LogFormat::Json || (format == LogFormat::Auto && !terminal) {
        layer.event_format(CloudLogging).boxed()
    } else {
        layer.event_format(Text { color: terminal }).boxed()
    };
    // A process that has a subscriber already (a test) keeps it.
    let _ = tracing_subscriber::registry().with(layer.with_filter(levels)).try_init();
}

/// The HTTP library warns of each frame that it does not like, so that strangers could write as many lines as they want. Its
/// lines are for those who name it (`info,h2=debug`).
fn without_noise(levels: Targets) -> Targets {
    let is_named = levels.iter().any(|(target, _)| target.starts_with("h2"));
    if is_named { levels } else { levels.with_target("h2", Level::ERROR) }
}

/// One JSON object a line: <https://cloud.google.com/logging/docs/structured-logging>.
struct CloudLogging;

/// A line that starts with the time of day and what happened, for the eye.
struct Text {
    color: bool,
}

/// The fields of an event, in the order that they were written.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

// === impl CloudLogging ===

impl<S, N> FormatEvent<S, N> for CloudLogging
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(event);
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        let severity = severity(*event.metadata().level());
        let target = Value::from(event.metadata().target());
        write!(writer, "{{\"time\":\"{time}\",\"severity\":\"{severity}\",")?;
        write!(writer, "\"message\":{},\"target\":{target}", Value::from(fields.message))?;
        for (name, value) in fields.others {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

// === impl Text ===

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(event);
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let level = *event.metadata().level();
        let (dim, bright, end) = if self.color { ("\x1b[2m", color(level), "\x1b[0m") } else { ("", "", "") };
        let clock = now.get(11..23).unwrap_or(&now);
        write!(writer, "{dim}{clock}{end} {bright}{level:5}{end} {}{dim}", fields.message)?;
        for (name, value) in fields.others {
            // What the message says already is for machines.
            if !["method", "code", "user_agent"].contains(&name) {
                write!(writer, "  {name}={value}")?;
            }
        }
        writeln!(writer, "{end}")
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

// === impl Fields ===

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an event looks like in this format.
    fn written<F>(format: F) -> String
    where
        F: FormatEvent<tracing_subscriber::Registry, tracing_subscriber::fmt::format::DefaultFields>
            + Send
            + Sync
            + 'static,
    {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "access", method = "a.B/C", wait_us = 7_u64, "line\none \"two\"");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_in_the_fields_of_cloud_logging() {
        let text = written(CloudLogging);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let mut line: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let time = line.remove("time").unwrap();
        assert!(humantime::parse_rfc3339(time.as_str().unwrap()).is_ok(), "{time}");
        let expected = serde_json::json!({
            "severity": "WARNING", "target": "access", "method": "a.B/C", "wait_us": 7, "message": "line\none \"two\""
        });
        assert_eq!(Value::Object(line), expected);
    }

    #[test]
    fn on_a_terminal_a_line_begins_with_the_time_of_day_and_what_happened() {
        let text = written(Text { color: false });
        let (clock, rest) = text.split_at("12:34:56.789".len());
        assert_eq!(clock.replace(|c: char| c.is_ascii_digit(), "0"), "00:00:00.000");
        assert_eq!(rest, " WARN  line\none \"two\"  wait_us=7\n");
    }
}

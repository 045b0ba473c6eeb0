//! The form of a log line.

use std::fmt::{self, Debug};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes an event as one line.
pub(super) struct Line {
    /// What `time` is followed by in every line, ready as JSON.
    process: String,
}

impl Line {
    /// Lines of this process on this machine. Where the machine's name cannot be had, it is empty.
    pub(super) fn new() -> Self {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let hostname = serde_json::Value::from(hostname.to_string_lossy());
        Self { process: format!(r#""pid":{},"hostname":{hostname}"#, std::process::id()) }
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::TRACE => 10,
            Level::DEBUG => 20,
            Level::INFO => 30,
            Level::WARN => 40,
            Level::ERROR => 50,
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        write!(writer, r#"{{"level":{level},"time":{time},{}"#, self.process)?;
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                writer.write_str(fields)?;
            }
        }
        ctx.format_fields(writer.by_ref(), event)?;
        writer.write_str("}\n")
    }
}

/// Writes fields as members of an object, each after a comma. The field `members` is such members already.
pub(super) struct Members;

impl<'w> FormatFields<'w> for Members {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = MemberWriter { writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct MemberWriter<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
}

impl Visit for MemberWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_err() || (field.name() == "members" && value.is_empty()) {
            return;
        }
        self.result = if field.name() == "members" {
            write!(self.writer, ",{value}")
        } else {
            write!(self.writer, r#","{}":{}"#, field.name(), serde_json::Value::from(value))
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

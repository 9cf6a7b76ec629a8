//! The log: lines on standard error, so that standard output holds what was asked for and nothing else. They
//! look as whoever reads them wants: people, systemd's journal, or programs that collect logs.

use std::{fmt, io::IsTerminal};

use serde_json::json;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Writer, format},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::clock::Clock;

/// For people, or for whatever collects logs.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `message` and the fields of the line.
    Json,
}

/// From now on the log is written. `QUINTILE_LOG` filters it: `debug`, `quintile::delivery=trace`.
#[expect(clippy::disallowed_methods, reason = "commands read the environment")]
pub fn start(default: &str, format: LogFormat) {
    let wanted = std::env::var("QUINTILE_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| default.parse().unwrap_or_default());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text if is_read_by_journal() => log.with(lines.event_format(JournalLines)).init(),
        LogFormat::Text => log.with(lines.with_ansi(std::io::stderr().is_terminal())).init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true).with_span_list(false)).init(),
    }
}

/// The last words of a command that failed, whatever lines `QUINTILE_LOG` wants.
pub fn say(error: &anyhow::Error, format: LogFormat) {
    if matches!(format, LogFormat::Json) {
        let now = Clock::system().now();
        eprintln!("{}", json!({ "timestamp": now, "level": "ERROR", "message": format!("{error:#}") }));
        return;
    }
    let text = format!("error: {error:#}");
    if is_read_by_journal() {
        text.lines().for_each(|line| eprintln!("<{}>{line}", priority(Level::ERROR)));
    } else {
        eprintln!("{text}");
    }
}

/// systemd's journal has the time of each line already, and reads how grave it is from a number before it.
struct JournalLines;

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        write!(writer, "<{}>{level} ", priority(level))?;
        format().without_time().with_level(false).with_target(false).with_ansi(false).format_event(ctx, writer, event)
    }
}

/// As syslog(3) counts.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// systemd names the file that leads to its journal: standard error may have been turned elsewhere since.
#[expect(clippy::disallowed_methods, reason = "commands read the environment")]
fn is_read_by_journal() -> bool {
    #[cfg(unix)]
    if let (Ok(journal), Ok(file)) = (std::env::var("JOURNAL_STREAM"), rustix::fs::fstat(std::io::stderr())) {
        return journal == format!("{}:{}", file.st_dev, file.st_ino);
    }
    false
}

//! The log on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged when `MILLRACE_LOG` says nothing: our own lines from `info`, those of libraries from `warn`. Openraft
/// warns of every attempt to reach a peer that is away; that it is away is told once, by our own lines.
const DEFAULT: &str = "warn,openraft=error,millrace=info";

/// Starts logging. `MILLRACE_LOG` takes the directives of `tracing-subscriber`, as in `MILLRACE_LOG=debug`.
pub(super) fn start(format: LogFormat) {
    let filter = std::env::var("MILLRACE_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

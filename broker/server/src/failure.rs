//! What can go wrong in a command, and how the user is told: a sentence, a code, and what to do.

use std::process::ExitCode;

use serde::Deserialize;

/// A command that was called wrongly: exit code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

impl Usage {
    /// The sentence says what is wrong and, where it is not plain, what would be right.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// The broker said no: a problem document (RFC 9457) as the contract describes it. Exit code 1.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable code in snake_case.
    pub(crate) code: String,
    /// What is wrong, for people.
    pub(crate) detail: String,
    /// Which part of the request, when it is one part.
    pub(crate) pointer: Option<String>,
    /// Each single cause, when there are several.
    pub(crate) errors: Vec<Cause>,
}

/// One of several causes of a problem.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    /// What is wrong, for people.
    pub(crate) detail: String,
    /// Which part of the request.
    pub(crate) pointer: Option<String>,
}

impl Problem {
    /// Reads a problem from an answer's body; a body that is none (a proxy's page, say) is quoted instead.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        if problem.detail.is_empty() {
            let quoted: String = String::from_utf8_lossy(body)
                .chars()
                .take(QUOTED_CHARS_MAX)
                .collect();
            problem.detail = if quoted.is_empty() {
                "the server gave no reason".to_owned()
            } else {
                quoted
            };
        }
        problem
    }
}

/// How much of a foreign answer is worth showing.
const QUOTED_CHARS_MAX: usize = 300;

impl std::error::Error for Problem {}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.detail)?;
        match self.code.as_str() {
            "" => write!(f, " (status {})", self.status)?,
            code => write!(f, " ({code}, status {})", self.status)?,
        }
        if let Some(pointer) = &self.pointer {
            write!(f, "\n  at {pointer}")?;
        }
        for cause in &self.errors {
            let pointer = cause.pointer.as_deref().unwrap_or("");
            write!(f, "\n  {pointer}: {}", cause.detail)?;
        }
        match advice(&self.code) {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

/// What a user of the command line can do about a code.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "topic_not_found" => {
            "`millrace topic list` shows the topics; `millrace topic create NAME` makes one."
        }
        "queue_not_found" => {
            "`millrace queue list` shows the queues; `millrace queue create NAME` makes one."
        }
        "subscription_not_found" => {
            "`millrace subscription list TOPIC` shows the subscriptions of a topic."
        }
        "plugin_not_found" => {
            "`millrace plugin list` shows the plugins; `millrace plugin push NAME@VERSION FILE` stores one."
        }
        "already_exists" => "Choose another name or version, or delete the one that is there.",
        "in_use" => {
            "Delete what uses it first; `topic delete --cascade` deletes a topic with its subscriptions."
        }
        "precondition_failed" => {
            "It was changed by somebody else meanwhile: look at it again, and repeat the change."
        }
        "stale_version" => "The configuration changed meanwhile: repeat the request.",
        "queue_full" => {
            "A queue of a subscription holds its max_entries: receive from it, or purge it."
        }
        "parked_full" => {
            "Redrive or delete what is parked: `millrace plugin parked TOPIC SUBSCRIPTION`."
        }
        "idempotency_key_reused" => "The key was used for another request: take a new one.",
        "message_too_large" => "Send less data, or store it elsewhere and send a reference.",
        "batch_too_large" => "Send fewer events in one request.",
        "schema_violation" => {
            "`millrace topic show TOPIC --output json` shows the schema that events must satisfy."
        }
        "invalid_component" => {
            "`millrace plugin check FILE` says what is wrong; `millrace plugin build` makes a right one."
        }
        "rejected_by_plugin" => {
            "The plugin of a subscription refused the event; nothing was stored."
        }
        "deferred_by_plugin" => {
            "The plugin of a subscription says that the event may succeed later; nothing was stored."
        }
        "no_quorum" | "not_ready" | "overloaded" => {
            "Try again in a moment; `GET /readyz` gives the reasons."
        }
        "outcome_unknown" => {
            "It may have happened or not: repeat it with the same --idempotency-key."
        }
        "storage_full" => "The broker's disk is full: free space; reads and acks go on meanwhile.",
        _ => return None,
    })
}

/// Tells the user on standard error, and gives the exit code: 2 for wrong usage, else 1.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("millrace: {error:#}");
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Whether the reader of our output went away (`millrace … | head`), which is its right.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_detail_code_pointers_and_advice() {
        let body = br#"{"type":"about:blank","title":"x","status":422,"detail":"Data breaks the schema.",
            "code":"schema_violation","errors":[{"pointer":"/data/a","detail":"is not a number"}]}"#;
        let text = Problem::read(422, body).to_string();
        for part in [
            "Data breaks the schema.",
            "schema_violation, status 422",
            "/data/a: is not a number",
            "topic show",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_foreign_answer_is_quoted() {
        let text = Problem::read(502, b"<html>Bad gateway</html>").to_string();
        assert_eq!(text, "<html>Bad gateway</html> (status 502)");
    }
}

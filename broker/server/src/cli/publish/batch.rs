//! A file of CloudEvents, sent in requests as large as the contract allows.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::{Output, event, output};
use crate::client::{Client, Payload, Route};

/// Most events of one request (the contract's limit).
const REQUEST_EVENTS_MAX: usize = 1000;

/// Most bytes of one request: the contract's limit of 4 MiB, less some room for the brackets and for a lower setting.
const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Refusals that are shown one by one; the rest is only counted.
const SHOWN_MAX: usize = 10;

/// What became of the events so far.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    deliveries: u64,
    failed: u64,
    errors: Vec<Value>,
}

/// Sends every event of the file, with a progress bar, and reports how many were accepted.
///
/// # Errors
/// When one was refused, after all were tried; at once when the broker cannot be reached.
pub(super) async fn post(
    client: &mut Client,
    out: Output,
    route: &Route,
    file: &Path,
    headers: &[(String, String)],
) -> Result<()> {
    let text = read(file)?;
    let events = split(&text)?;
    let bar = output::progress(events.len() as u64, "events", "sending");
    let mut tally = Tally::default();
    let mut first = 0;
    while first < events.len() {
        let end = first + take(&events[first..]);
        tally
            .request(client, route, &events[first..end], first, headers)
            .await?;
        bar.inc((end - first) as u64);
        first = end;
    }
    bar.finish_and_clear();
    tally.report(out)
}

fn read(file: &Path) -> Result<String> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("standard input")?;
        bytes
    } else {
        event::read(file)?
    };
    String::from_utf8(bytes).context("a file of CloudEvents must be UTF-8")
}

/// The events of the file, as they stand in it.
fn split(text: &str) -> Result<Vec<&RawValue>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).context("the array of events is not JSON");
    }
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {} is not JSON", number + 1))
        })
        .collect()
}

/// How many of these events go into the next request; one too large for any goes alone, for the broker to refuse.
fn take(events: &[&RawValue]) -> usize {
    let mut bytes = 0;
    for (count, event) in events.iter().take(REQUEST_EVENTS_MAX).enumerate() {
        bytes += event.get().len() + 1;
        if bytes > REQUEST_BYTES_MAX && count > 0 {
            return count;
        }
    }
    events.len().min(REQUEST_EVENTS_MAX)
}

impl Tally {
    async fn request(
        &mut self,
        client: &mut Client,
        route: &Route,
        events: &[&RawValue],
        first: usize,
        headers: &[(String, String)],
    ) -> Result<()> {
        let body = serde_json::to_vec(events)?;
        let mut all = vec![(
            "content-type",
            "application/cloudevents-batch+json".to_owned(),
        )];
        // Each request of the file needs a key of its own, the same one when the file is sent again.
        all.extend(headers.iter().map(|(name, value)| match name.as_str() {
            "idempotency-key" => (name.as_str(), format!("{value}-{first}")),
            other => (other, value.clone()),
        }));
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = client
            .exchange(Method::POST, route.clone(), &all, Payload::bytes(body))
            .await?;
        let answer_json = answer.json()?;
        match answer_json["messages"].as_array() {
            Some(messages) => messages
                .iter()
                .enumerate()
                .for_each(|(at, result)| self.count(first + at, result)),
            None if answer.status.is_success() => bail!("the server's answer has no `messages`"),
            None => self.refused(first, events.len() as u64, &answer_json),
        }
        Ok(())
    }

    fn count(&mut self, index: usize, result: &Value) {
        match result.get("error") {
            Some(error) if !error.is_null() => self.refused(index, 1, error),
            _ => {
                self.accepted += 1;
                self.deliveries += result["deliveries"].as_u64().unwrap_or(0);
            }
        }
    }

    fn refused(&mut self, index: usize, count: u64, error: &Value) {
        self.failed += count;
        if self.errors.len() < SHOWN_MAX {
            self.errors
                .push(json!({ "event": index, "code": error["code"], "detail": error["detail"] }));
        }
    }

    fn report(self, out: Output) -> Result<()> {
        let json = json!({ "accepted": self.accepted, "deliveries": self.deliveries, "failed": self.failed, "errors": self.errors });
        out.done(
            &format!(
                "{} events accepted, {} deliveries",
                self.accepted, self.deliveries
            ),
            &json,
        )?;
        if self.failed == 0 {
            return Ok(());
        }
        let mut text = format!("{} events were refused", self.failed);
        for error in &self.errors {
            let word = |name: &str| error[name].as_str().unwrap_or("").to_owned();
            let (detail, code) = (word("detail"), word("code"));
            text.push_str(&format!(
                "\n  event {} of the file: {detail} ({code})",
                error["event"]
            ));
        }
        bail!(text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::super::OutputForm;
    use super::*;
    use crate::client::scripted::{Scripted, reply};

    #[tokio::test]
    async fn every_event_is_sent_and_refusals_are_told_at_the_end() {
        let first = r#"{"messages":[{"id":"1","sequence":1,"deliveries":2},{"error":{"code":"x","detail":"no"}}]}"#;
        let server = Scripted::start(vec![reply(200, first)]).await;
        let mut client = Client::new(&server.url).expect("a URL");
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n")
            .expect("written");
        let headers = [("idempotency-key".to_owned(), "k".to_owned())];
        let out = Output::new(OutputForm::Json);
        let result = post(&mut client, out, &Route::of(["v1"]), file.path(), &headers).await;
        let error = result.expect_err("one was refused").to_string();
        assert!(
            error.contains("1 events were refused") && error.contains("event 1"),
            "{error}"
        );
        let asked = &server.requests()[0];
        assert!(
            asked.head.contains("application/cloudevents-batch+json"),
            "{}",
            asked.head
        );
        assert!(
            asked.head.contains("idempotency-key: k-0"),
            "{}",
            asked.head
        );
        assert_eq!(asked.json(), json!([{"id": "1"}, {"id": "2"}]));
    }

    #[test]
    fn lines_and_arrays_are_split_alike() {
        let lines = split("{\"id\":\"1\"}\n\n{\"id\":\"2\"}\n").expect("lines");
        let array = split(" [{\"id\":\"1\"}, {\"id\":\"2\"}]").expect("an array");
        assert_eq!(
            lines.iter().map(|e| e.get()).collect::<Vec<_>>(),
            array.iter().map(|e| e.get()).collect::<Vec<_>>()
        );
        let error = split("{\"id\":\"1\"}\nnonsense\n").expect_err("line 2");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn requests_keep_both_limits() {
        let small = "{}\n".repeat(2500);
        let events = split(&small).expect("events");
        assert_eq!(
            (take(&events), take(&events[1000..]), take(&events[2000..])),
            (1000, 1000, 500)
        );
        let large = format!("\"{}\"\n", "x".repeat(REQUEST_BYTES_MAX / 2)).repeat(3);
        let events = split(&large).expect("events");
        assert_eq!(take(&events), 1);
        let too_large = format!("\"{}\"\n", "x".repeat(REQUEST_BYTES_MAX * 2)).repeat(2);
        assert_eq!(take(&split(&too_large).expect("events")), 1);
    }

    #[test]
    fn results_are_counted_one_by_one() {
        let mut tally = Tally::default();
        tally.count(0, &json!({"id": "1", "sequence": 1, "deliveries": 2}));
        tally.count(
            1,
            &json!({"id": "2", "error": {"code": "schema_violation", "detail": "no"}}),
        );
        assert_eq!((tally.accepted, tally.deliveries, tally.failed), (1, 2, 1));
        assert_eq!(tally.errors[0]["event"], 1);
    }
}

//! An event that a user describes by options, as an HTTP request.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use uuid::Uuid;

use super::choice::Pair;
use crate::client::Payload;
use crate::failure::Usage;

/// One event: its data and its attributes.
#[derive(Debug, Args)]
pub(super) struct EventArgs {
    /// File with the event's data; `-` is standard input, which is also the default
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    /// The event's data, in place of a file
    #[arg(long, value_name = "TEXT")]
    data: Option<String>,
    /// Media type of the data [default: by the file's ending and by what the data looks like]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Type of the event
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Source of the event
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Subject of the event
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Id of the event [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Another attribute, as in partitionkey=customer-7, routingkey=order.new.eu or tags=a,b
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<Pair>,
    /// A header of the HTTP request
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<Pair>,
}

/// The headers and the body of a request that carries one event.
pub(super) struct EventRequest {
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Payload,
}

impl EventArgs {
    /// The request: binary mode when an attribute is given, else a plain body whose attributes the broker fills in.
    /// A file `*.cloudevent.json` or a content type of CloudEvents goes out in structured mode, as it is.
    pub(super) fn request(&self) -> Result<EventRequest> {
        let data = self.read()?;
        let content_type = self
            .content_type
            .clone()
            .unwrap_or_else(|| guess_content_type(self.file.as_deref(), &data));
        let mut headers = self.attributes(&content_type)?;
        headers.push(("content-type".to_owned(), content_type));
        headers.extend(
            self.header
                .iter()
                .map(|pair| (pair.name.clone(), pair.value.clone())),
        );
        Ok(EventRequest {
            headers,
            body: Payload::bytes(data),
        })
    }

    fn read(&self) -> Result<Vec<u8>> {
        match (&self.data, &self.file) {
            (Some(data), _) => Ok(data.clone().into_bytes()),
            (None, Some(file)) if file.as_os_str() != "-" => read(file),
            (None, _) => {
                let mut data = Vec::new();
                std::io::stdin()
                    .lock()
                    .read_to_end(&mut data)
                    .context("standard input")?;
                Ok(data)
            }
        }
    }

    fn attributes(&self, content_type: &str) -> Result<Vec<(String, String)>, Usage> {
        let mut given: Vec<(&str, &str)> = self
            .attribute
            .iter()
            .map(|pair| (pair.name.as_str(), pair.value.as_str()))
            .collect();
        let named = [
            ("type", &self.kind),
            ("source", &self.source),
            ("subject", &self.subject),
            ("id", &self.id),
        ];
        given.extend(
            named
                .iter()
                .filter_map(|(name, value)| Some((*name, value.as_deref()?))),
        );
        if given.is_empty() {
            return Ok(Vec::new());
        }
        if content_type.starts_with("application/cloudevents") {
            return Err(Usage::new(
                "a whole CloudEvent carries its own attributes: leave --type and the like out",
            ));
        }
        let id = Uuid::now_v7().to_string();
        for (name, value) in [
            ("type", "millrace.message"),
            ("source", "/millrace/cli"),
            ("id", &id),
            ("specversion", "1.0"),
        ] {
            if !given.iter().any(|(known, _)| *known == name) {
                given.push((name, value));
            }
        }
        Ok(given
            .into_iter()
            .map(|(name, value)| (format!("ce-{name}"), encode_header(value)))
            .collect())
    }
}

/// Reads a file that the user named.
pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn guess_content_type(file: Option<&Path>, data: &[u8]) -> String {
    let name = file.and_then(|file| file.to_str()).unwrap_or("");
    let guess = if name.ends_with(".cloudevent.json") {
        "application/cloudevents+json"
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
        "application/json"
    } else if std::str::from_utf8(data).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    guess.to_owned()
}

/// A CloudEvents attribute as a header's value: space, `"`, `%` and all but printable ASCII are percent-encoded
/// (CloudEvents HTTP binding, 3.1.3.2).
fn encode_header(value: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
    utf8_percent_encode(value, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        event: EventArgs,
    }

    fn headers(line: &[&str]) -> Vec<(String, String)> {
        let line = Line::try_parse_from([&["x"], line].concat()).expect("a right command line");
        line.event.request().expect("a request").headers
    }

    #[test]
    fn data_alone_is_a_plain_body() {
        assert_eq!(
            headers(&["--data", "{\"a\":1}"]),
            [("content-type".to_owned(), "application/json".to_owned())]
        );
        assert_eq!(
            headers(&["--data", "hello"])[0].1,
            "text/plain; charset=utf-8"
        );
    }

    #[test]
    fn attributes_make_a_complete_binary_mode_event() {
        let headers = headers(&["--data", "x", "--type", "a.b", "--attribute", "tags=ä b"]);
        for name in [
            "ce-type",
            "ce-source",
            "ce-id",
            "ce-specversion",
            "ce-tags",
            "content-type",
        ] {
            assert_eq!(
                headers.iter().filter(|(known, _)| known == name).count(),
                1,
                "{name}"
            );
        }
        assert!(headers.contains(&("ce-tags".to_owned(), "%C3%A4%20b".to_owned())));
    }
}

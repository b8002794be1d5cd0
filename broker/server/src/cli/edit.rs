//! Creating, changing, listing and deleting things that have a configuration: topics, queues, subscriptions.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Output;
use crate::client::{Client, Payload, Route};
use crate::failure::Usage;

/// The fields of a configuration, as far as they were given.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// With this field, if it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), json!(value));
        }
        self
    }
}

/// The part of a list that is wanted.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only names that begin so
    #[arg(long)]
    prefix: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only what comes after this, as a list's end showed it
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

impl ListArgs {
    /// Asks for the list, and prints these columns of it.
    pub(super) async fn run(
        &self,
        client: &mut Client,
        out: Output,
        route: Route,
        columns: &[&str],
    ) -> Result<()> {
        let route = route
            .query("prefix", self.prefix.as_ref())
            .query("limit", self.limit)
            .query("after", self.after.as_ref());
        out.rows(&client.get(route).await?, "items", columns)
    }
}

/// Creates it, or confirms that it is there with the same configuration.
pub(super) async fn create(
    client: &mut Client,
    out: Output,
    route: Route,
    name: &str,
    fields: Fields,
) -> Result<()> {
    let answer = client.put(route, &Value::Object(fields.0), None).await?;
    let what = if answer.status.as_u16() == 201 {
        "created"
    } else {
        "is there, as asked"
    };
    out.done(&format!("{name} {what}"), &answer.json()?)
}

/// Changes some fields and leaves the rest, unless somebody else changed it meanwhile.
///
/// `known` are the fields that a configuration has; the rest of what `GET` shows (counters, say) is not sent back.
pub(super) async fn update(
    client: &mut Client,
    out: Output,
    route: Route,
    known: &[&str],
    changes: Fields,
    unset: &[String],
) -> Result<()> {
    let current = client
        .send(hyper::Method::GET, route.clone(), &[], Payload::empty())
        .await?;
    let mut config = configuration(&current.json()?, known);
    for field in unset {
        if !known.contains(&field.as_str()) {
            return Err(
                Usage::new(format!("--unset {field}: choose from {}", known.join(", "))).into(),
            );
        }
        config.remove(field);
    }
    config.extend(changes.0);
    let answer = client
        .put(route, &Value::Object(config), current.etag.as_deref())
        .await?;
    out.object(&answer.json()?)
}

/// The configuration within what `GET` shows.
fn configuration(shown: &Value, known: &[&str]) -> Map<String, Value> {
    let fields = known
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), shown.get(name)?.clone())));
    fields.collect()
}

/// Deletes it.
pub(super) async fn delete(
    client: &mut Client,
    out: Output,
    route: Route,
    name: &str,
) -> Result<()> {
    client.delete(route).await?;
    out.done(&format!("{name} deleted"), &json!({ "deleted": name }))
}

#[cfg(test)]
mod tests {
    use super::super::OutputForm;
    use super::*;
    use crate::client::scripted::{Scripted, reply};

    const SHOWN: &str = r#"{"name":"q","visibility_seconds":30,"dead_letter":{"queue":"d","max_receives":3},"counters":{"ready":1}}"#;
    const KNOWN: [&str; 2] = ["visibility_seconds", "dead_letter"];

    async fn update_with(changes: Fields, unset: &[String]) -> (Result<()>, Scripted) {
        let server = Scripted::start(vec![reply(200, SHOWN), reply(200, "{}")]).await;
        let mut client = Client::new(&server.url).expect("a URL");
        let route = Route::of(["v1", "queues", "q"]);
        let out = Output::new(OutputForm::Json);
        let result = update(&mut client, out, route, &KNOWN, changes, unset).await;
        (result, server)
    }

    #[tokio::test]
    async fn an_update_sends_the_rest_back_over_the_version_it_saw() {
        let changes = Fields::default().with("visibility_seconds", Some(60));
        let (result, server) = update_with(changes, &[]).await;
        result.expect("updated");
        let put = &server.requests()[1];
        assert!(put.head.starts_with("PUT /v1/queues/q "), "{}", put.head);
        assert!(put.head.contains("if-match: \"v7\""), "{}", put.head);
        let expected =
            json!({"visibility_seconds": 60, "dead_letter": {"queue": "d", "max_receives": 3}});
        assert_eq!(put.json(), expected);
    }

    #[tokio::test]
    async fn an_unset_field_is_left_out_and_an_unknown_one_refused() {
        let (result, server) = update_with(Fields::default(), &["dead_letter".to_owned()]).await;
        result.expect("updated");
        assert_eq!(
            server.requests()[1].json(),
            json!({"visibility_seconds": 30})
        );
        let (result, server) = update_with(Fields::default(), &["colour".to_owned()]).await;
        assert!(result.expect_err("unknown").is::<Usage>());
        assert_eq!(server.requests().len(), 1, "nothing is changed");
    }
}

//! The topic, the queues and the subscriptions of a load.

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::BenchArgs;
use crate::client::{Client, Payload, Route};

/// How long a received event stays leased: longer than any run takes to acknowledge it.
const VISIBILITY_SECONDS: u64 = 600;

/// A topic with some queues subscribed to it, named so that nobody else's are touched.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    topic: String,
    queues: Vec<String>,
    /// Name and version of the plugin that was stored for it.
    plugin: Option<(String, String)>,
}

impl Stage {
    /// Creates everything; with the plugin of the arguments on every subscription, if wanted.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(super) async fn create(
        client: &mut Client,
        args: &BenchArgs,
        queues: usize,
        with_plugin: bool,
    ) -> Result<Self> {
        let topic = format!("bench-{}", Uuid::now_v7().simple());
        let plugin = if with_plugin {
            store_plugin(client, args, &topic).await?
        } else {
            None
        };
        client
            .put(Route::of(["v1", "topics", &topic]), &json!({}), None)
            .await?;
        let mut stage = Self {
            topic,
            queues: Vec::new(),
            plugin,
        };
        for number in 0..queues {
            stage.add_queue(client, args, number).await?;
        }
        Ok(stage)
    }

    async fn add_queue(
        &mut self,
        client: &mut Client,
        args: &BenchArgs,
        number: usize,
    ) -> Result<()> {
        let queue = format!("{}-{number}", self.topic);
        let config = json!({ "visibility_seconds": VISIBILITY_SECONDS });
        client
            .put(Route::of(["v1", "queues", &queue]), &config, None)
            .await?;
        let route = Route::of(["v1", "topics", &self.topic, "subscriptions", &queue]);
        client
            .put(route, &self.subscription(&queue, args), None)
            .await?;
        self.queues.push(queue);
        Ok(())
    }

    fn subscription(&self, queue: &str, args: &BenchArgs) -> Value {
        let Some((name, version)) = &self.plugin else {
            return json!({ "to": { "queue": queue } });
        };
        let config = args
            .plugin_config
            .as_ref()
            .map_or_else(default_config, |config| config.0.clone());
        json!({
            "to": { "destinations": { "queue": { "queue": queue } } },
            "plugin": { "name": name, "version": version, "config": config },
            "on_failure": "reject",
        })
    }

    /// Path for publishing to the topic.
    pub(super) fn publish_path(&self) -> String {
        format!("/v1/topics/{}/messages", self.topic)
    }

    /// Paths of the queues.
    pub(super) fn queue_paths(&self) -> Vec<String> {
        self.queues
            .iter()
            .map(|queue| format!("/v1/queues/{queue}"))
            .collect()
    }

    /// Deletes everything.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(super) async fn delete(&self, client: &mut Client) -> Result<()> {
        client
            .delete(Route::of(["v1", "topics", &self.topic]).query("cascade", Some(true)))
            .await?;
        for queue in &self.queues {
            client.delete(Route::of(["v1", "queues", queue])).await?;
        }
        if let Some((name, version)) = &self.plugin {
            client
                .delete(Route::of(["v1", "plugins", name, "versions", version]))
                .await?;
        }
        Ok(())
    }
}

/// A configuration of the content router that ships with the broker: one rule, on the type, which every event passes.
fn default_config() -> Value {
    json!({ "rules": [{ "attributes": { "type": { "prefix": "millrace." } }, "to": ["queue"] }] })
}

async fn store_plugin(
    client: &mut Client,
    args: &BenchArgs,
    name: &str,
) -> Result<Option<(String, String)>> {
    let Some(file) = &args.plugin else {
        return Ok(None);
    };
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (name, version) = (name.to_owned(), "1.0.0".to_owned());
    let route = Route::of(["v1", "plugins", &name, "versions", &version]);
    client
        .send(
            Method::PUT,
            route,
            &[("content-type", "application/wasm")],
            Payload::bytes(bytes),
        )
        .await?;
    Ok(Some((name, version)))
}

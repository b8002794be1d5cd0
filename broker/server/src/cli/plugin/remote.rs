//! Plugins in the broker.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::json;

use super::super::choice::PluginVersion;
use super::super::{Output, event, output};
use super::author;
use crate::client::{Answer, Client, Payload, Route};
use crate::failure::Usage;

pub(super) const LIST_COLUMNS: [&str; 2] = ["name", "versions"];
const VERSION_COLUMNS: [&str; 5] = ["version", "world", "uploaded_at", "bytes", "description"];

fn route(plugin: &PluginVersion) -> Route {
    Route::of(["v1", "plugins", &plugin.name, "versions", &plugin.version])
}

/// Stores a component under a name and version.
pub(super) async fn push(
    client: &mut Client,
    out: Output,
    plugin: &PluginVersion,
    file: Option<PathBuf>,
) -> Result<()> {
    let file = match file {
        Some(file) => file,
        None => author::built(Path::new("."))?,
    };
    let answer = upload(client, Method::PUT, route(plugin), &file).await?;
    out.object(&answer.json()?)
}

/// Asks the broker what it thinks of a component.
pub(super) async fn check(client: &mut Client, out: Output, file: &Path) -> Result<()> {
    let answer = upload(
        client,
        Method::POST,
        Route::of(["v1", "plugins", "check"]),
        file,
    )
    .await?;
    out.object(&answer.json()?)
}

async fn upload(client: &mut Client, method: Method, route: Route, file: &Path) -> Result<Answer> {
    let bytes = event::read(file)?;
    let bar = output::progress(bytes.len() as u64, "bytes", "uploading");
    let body = Payload::bytes(bytes).with_progress(bar.clone());
    let answer = client
        .send(method, route, &[("content-type", "application/wasm")], body)
        .await;
    bar.finish_and_clear();
    answer
}

/// Shows a plugin or one version of it, or writes that version's component to a file.
pub(super) async fn show(
    client: &mut Client,
    out: Output,
    plugin: &str,
    wasm: Option<PathBuf>,
) -> Result<()> {
    match (plugin.parse::<PluginVersion>(), wasm) {
        (Ok(version), Some(file)) => download(client, out, &version, &file).await,
        (Ok(version), None) => out.object(&client.get(route(&version)).await?),
        (Err(how), Some(_)) => Err(Usage::new(format!("--wasm needs a version: {how}")).into()),
        (Err(_), None) => {
            let answer = client.get(Route::of(["v1", "plugins", plugin])).await?;
            out.rows(&answer, "versions", &VERSION_COLUMNS)
        }
    }
}

async fn download(
    client: &mut Client,
    out: Output,
    plugin: &PluginVersion,
    file: &Path,
) -> Result<()> {
    let route = route(plugin).query("format", Some("wasm"));
    let answer = client
        .send(Method::GET, route, &[], Payload::empty())
        .await?;
    std::fs::write(file, &answer.body)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let json = json!({ "file": file, "bytes": answer.body.len() });
    out.done(
        &format!("{} bytes written to {}", answer.body.len(), file.display()),
        &json,
    )
}

/// Deletes a version.
pub(super) async fn delete(client: &mut Client, out: Output, plugin: &PluginVersion) -> Result<()> {
    client.delete(route(plugin)).await?;
    let name = format!("{}@{}", plugin.name, plugin.version);
    out.done(&format!("{name} deleted"), &json!({ "deleted": name }))
}

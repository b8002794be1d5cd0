//! Plugin versions: upload, check, show, list, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use millrace_model::command::CatalogCommand;
use millrace_model::plugin::{Description, PluginDestination, World, is_version};
use millrace_model::router::Inspection;
use millrace_model::{
    Answer, Command, GroupId, Name, Outcome, PluginVersion, Proposal, Query as Question, Refusal,
    Topology, limit,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::problem::Failure;
use crate::problem::causes::invalid_component;
use crate::query::{Kind, Param};
use crate::{catalog, json, page, rfc3339, schema};

/// The media type of components.
pub(crate) const WASM: &str = "application/wasm";

/// The parameters of a version.
pub(crate) const SHOW: &[Param] = &[Param {
    name: "format",
    kind: Kind::Word(&["json", "wasm"]),
    about: "`wasm` gives the component itself.",
}];

/// A plugin version as answers show it.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginVersion)]
pub(crate) struct VersionView<'a> {
    /// Name of the plugin, as uploaded.
    name: &'a str,
    /// Version, as uploaded.
    version: &'a str,
    /// When it was uploaded.
    #[schema(format = DateTime)]
    uploaded_at: String,
    #[serde(flatten)]
    #[schema(inline)]
    component: ComponentView<'a>,
}

/// What a component says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = Component)]
pub(crate) struct ComponentView<'a> {
    /// `sha256:` and the hex digest of its bytes.
    digest: &'a str,
    /// Its size.
    bytes: u64,
    /// What it is for.
    world: World,
    /// The host interfaces that it imports.
    imports: &'a [String],
    /// One sentence for people.
    description: &'a str,
    /// JSON Schema 2020-12 of its configuration.
    #[schema(value_type = Value)]
    config_schema: &'a Value,
    /// The destinations that it may name; empty when its configuration decides.
    destinations: &'a [PluginDestination],
}

/// What a component is, without being stored.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginCheck)]
pub(crate) struct CheckView<'a> {
    /// The name that it gives itself.
    name: &'a str,
    /// The version that it gives itself.
    version: &'a str,
    #[serde(flatten)]
    #[schema(inline)]
    component: ComponentView<'a>,
}

/// A plugin with the names of its versions.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginSummary)]
pub(crate) struct SummaryView<'a> {
    /// Its name.
    name: &'a Name,
    /// Its versions, in order of their text.
    versions: Vec<&'a str>,
}

/// A plugin with its versions.
#[derive(Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(crate) struct PluginView<'a> {
    /// Its name.
    name: &'a Name,
    /// Its versions, in order of their text.
    versions: Vec<VersionView<'a>>,
}

impl<'a> VersionView<'a> {
    fn new(version: &'a PluginVersion) -> Self {
        Self {
            name: version.name.as_str(),
            version: &version.version,
            uploaded_at: rfc3339::text(version.uploaded_at),
            component: component(&version.digest, version.bytes, &version.description),
        }
    }
}

fn component<'a>(digest: &'a str, bytes: u64, described: &'a Description) -> ComponentView<'a> {
    ComponentView {
        digest,
        bytes,
        world: described.world,
        imports: &described.imports,
        description: &described.description,
        config_schema: &described.config_schema.0,
        destinations: &described.destinations,
    }
}

/// Lists plugins.
pub(crate) async fn list(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let topology = call.fresh().await?;
    let mut plugins = BTreeMap::<Name, Vec<&str>>::new();
    for (name, version) in topology.plugins.keys() {
        plugins.entry(name.clone()).or_default().push(version);
    }
    let show = |name, versions: &Vec<_>| SummaryView {
        name,
        versions: versions.clone(),
    };
    let page = page::by_name(&plugins, &query, show);
    Ok(json::answer(StatusCode::OK, &page))
}

/// Shows a plugin with its versions.
pub(crate) async fn show(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let name = call.name("plugin")?;
    let topology = call.fresh().await?;
    let from = topology.plugins.range((name.clone(), String::new())..);
    let own = from.take_while(|((other, _), _)| *other == name);
    let versions: Vec<_> = own.map(|(_, version)| VersionView::new(version)).collect();
    if versions.is_empty() {
        return Err(Refusal::PluginNotFound(name.to_string()).into());
    }
    let name = &name;
    Ok(json::answer(StatusCode::OK, &PluginView { name, versions }))
}

/// Shows a version, or gives its component.
pub(crate) async fn show_version(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let (name, version) = version_of(&call)?;
    let topology = call.fresh().await?;
    let found = find(&topology, &name, &version)?;
    if query.get("format") != Some("wasm") {
        return Ok(json::answer(StatusCode::OK, &VersionView::new(found)));
    }
    let question = Question::Component(found.digest.clone());
    match call.gateway.ledger().query(GroupId::META, question).await? {
        Answer::Component(bytes) => {
            let mut response = json::raw(StatusCode::OK, bytes);
            let wasm = HeaderValue::from_static(WASM);
            response.headers_mut().insert(CONTENT_TYPE, wasm);
            Ok(response)
        }
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Err(Failure::internal(
            "a component was answered with something else",
        )),
    }
}

/// Stores a version. The path names it; what the component calls itself is for people.
pub(crate) async fn put_version(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let (name, version) = version_of(&call)?;
    let component = upload(&mut call).await?;
    let bytes = component.len() as u64;
    let inspection = inspect(&call, component.clone()).await?;
    let version = PluginVersion {
        name,
        version,
        digest: inspection.digest,
        bytes,
        uploaded_at: call.gateway.clock().now(),
        description: inspection.description,
    };
    let proposal = Proposal {
        command: Command::Catalog(CatalogCommand::PutPlugin { version }),
        payloads: vec![component],
    };
    match call.gateway.commit(GroupId::META, proposal).await? {
        Outcome::Plugin { version, created } => {
            let status = catalog::put_status(created);
            Ok(json::answer(status, &VersionView::new(&version)))
        }
        other => Err(unexpected(&other)),
    }
}

/// Says what a component is, and stores nothing.
pub(crate) async fn check(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let component = upload(&mut call).await?;
    let bytes = component.len() as u64;
    let inspection = inspect(&call, component).await?;
    let view = CheckView {
        name: &inspection.name,
        version: &inspection.version,
        component: self::component(&inspection.digest, bytes, &inspection.description),
    };
    Ok(json::answer(StatusCode::OK, &view))
}

/// Deletes a version that no subscription uses.
pub(crate) async fn delete(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let (name, version) = version_of(&call)?;
    catalog::delete(
        &call.gateway,
        CatalogCommand::DeletePlugin { name, version },
    )
    .await
}

async fn upload(call: &mut Call) -> Result<Bytes, Failure> {
    let content_type = call.head.headers.get(CONTENT_TYPE);
    let is_wasm = content_type.is_none_or(|value| {
        let text = value.to_str().unwrap_or("");
        let essence = text.split(';').next().unwrap_or("").trim();
        [WASM, "application/octet-stream"]
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
    });
    if !is_wasm {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be a WebAssembly component: send it with Content-Type: application/wasm",
        ));
    }
    call.read_body(limit::COMPONENT_BYTES_MAX, "component_too_large")
        .await
}

async fn inspect(call: &Call, component: Bytes) -> Result<Inspection, Failure> {
    let inspection = call.gateway.planner().inspect(component).await?;
    let config_schema = inspection.description.config_schema.0.clone();
    match schema::compile_elsewhere(config_schema).await? {
        Ok(_) => Ok(inspection),
        Err(problem) => Err(invalid_component(format!(
            "its config_schema: {}",
            problem.detail
        ))),
    }
}

fn version_of(call: &Call) -> Result<(Name, String), Failure> {
    let (name, version) = (call.name("plugin")?, call.param("version"));
    if is_version(version) {
        return Ok((name, version.to_owned()));
    }
    let detail = "a version is 1 to 64 letters, digits, '.', '_', '+' or '-'";
    Err(Failure::bad_request("invalid_version", detail).at("version"))
}

fn find<'a>(
    topology: &'a Topology,
    name: &Name,
    version: &str,
) -> Result<&'a Arc<PluginVersion>, Failure> {
    let found = topology.plugin(name, version);
    found.ok_or_else(|| Refusal::PluginNotFound(format!("{name}@{version}")).into())
}

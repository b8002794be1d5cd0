//! What a component says of itself, checked before anybody sees it.

use std::sync::Arc;

use millrace_model::Name;
use millrace_model::limit::DESTINATIONS_MAX;
use millrace_model::plugin::{Description, PluginDestination, is_version};
use millrace_model::router::Inspection;
use millrace_model::topic::JsonDocument;
use serde_json::Value;

use crate::compiled::Compiled;
use crate::contract;
use crate::failure::CallError;
use crate::instance::Instance;
use crate::sandbox::Sandbox;

/// Largest JSON Schema of a configuration, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Longest summary, in bytes.
const SUMMARY_BYTES_MAX: usize = 1024;

/// Why a component did not describe itself.
#[derive(Debug)]
pub(crate) enum InspectError {
    /// What is wrong with it.
    Invalid(String),
    /// No instance is free.
    Busy,
}

/// Runs `describe` in an instance of its own and checks the answer.
pub(crate) async fn inspect(
    sandbox: &Arc<Sandbox>,
    compiled: &Compiled,
    digest: String,
) -> Result<Inspection, InspectError> {
    let described = async {
        let mut instance = Instance::start(sandbox, compiled, "inspection".into()).await?;
        instance.describe().await
    };
    let said = described.await.map_err(|error| match error {
        CallError::Busy => InspectError::Busy,
        CallError::Failed(failure) => {
            InspectError::Invalid(format!("it does not describe itself: {}", failure.detail))
        }
    })?;
    check(compiled, digest, said).map_err(InspectError::Invalid)
}

fn check(
    compiled: &Compiled,
    digest: String,
    said: contract::Description,
) -> Result<Inspection, String> {
    Name::new(&said.name).map_err(|error| format!("its name is not good: {error}"))?;
    if !is_version(&said.version) {
        return Err(format!(
            "its version {:?} is not 1 to 64 letters, digits, '.', '_', '+' or '-'",
            said.version
        ));
    }
    check_summary("its summary", &said.summary)?;
    let description = Description {
        world: compiled.world,
        imports: compiled.imports.clone(),
        config_schema: schema(&said.config_schema)?,
        destinations: destinations(said.destinations)?,
        description: said.summary,
    };
    Ok(Inspection {
        digest,
        name: said.name,
        version: said.version,
        description,
    })
}

fn schema(text: &str) -> Result<JsonDocument, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!(
            "its configuration schema is larger than {SCHEMA_BYTES_MAX} bytes"
        ));
    }
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| format!("its configuration schema is not JSON: {error}"))?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err("its configuration schema is neither an object nor a boolean".into());
    }
    Ok(JsonDocument(schema))
}

fn destinations(said: Vec<contract::Destination>) -> Result<Vec<PluginDestination>, String> {
    if said.len() > DESTINATIONS_MAX {
        return Err(format!(
            "it declares more than {DESTINATIONS_MAX} destinations"
        ));
    }
    let check = |one: contract::Destination| {
        Name::new(&one.name)
            .map_err(|error| format!("a destination's name is not good: {error}"))?;
        check_summary("a destination's summary", &one.summary)?;
        Ok(PluginDestination {
            name: one.name,
            summary: one.summary,
        })
    };
    said.into_iter().map(check).collect()
}

fn check_summary(what: &str, text: &str) -> Result<(), String> {
    if text.len() > SUMMARY_BYTES_MAX {
        return Err(format!("{what} is longer than {SUMMARY_BYTES_MAX} bytes"));
    }
    Ok(())
}

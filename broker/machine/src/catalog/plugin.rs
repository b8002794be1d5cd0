//! Plugin versions of the catalog, and the bytes of their components.

use std::sync::Arc;

use millrace_model::{Fault, Name, Outcome, PluginVersion, Refusal, Tables, limit, row};

use super::{Changed, Changing, within};
use crate::keys;
use crate::machine::Machine;
use crate::scan::each_row;

impl<T: Tables> Machine<T> {
    /// The bytes of a component, by digest.
    pub(crate) fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, Fault> {
        let known = self
            .topology()
            .plugins
            .values()
            .any(|plugin| plugin.digest == digest);
        if !known {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let (from, until) = chunks(digest);
        each_row(&self.tables, &from, &until, |_, chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(Some(bytes))
    }
}

/// The range of the chunks of a component.
fn chunks(digest: &str) -> (Vec<u8>, Vec<u8>) {
    (
        keys::component(digest, 0),
        keys::component(digest, u32::MAX),
    )
}

impl<T: Tables> Changing<'_, T> {
    /// Versions are immutable: the same bytes confirm, others are refused.
    pub(super) fn put_plugin(&mut self, mut version: PluginVersion, component: &[u8]) -> Changed {
        let key = (version.name.clone(), version.version.clone());
        let called = format!("{}@{}", version.name, version.version);
        if let Some(present) = self.topology.plugins.get(&key) {
            if present.digest != version.digest {
                let reason =
                    format!("plugin {called:?} exists with other bytes: use a new version");
                return Err(Refusal::AlreadyExists(reason));
            }
            let version = present.clone();
            return Ok(Outcome::Plugin {
                version,
                created: false,
            });
        }
        let count = self.topology.plugins.len();
        super::limit("plugin versions", count, limit::CATALOG_ITEMS_MAX)?;
        self.revise();
        if !self.has_component(&version.digest) {
            let ordinals = 0..;
            for (ordinal, chunk) in ordinals.zip(component.chunks(limit::COMPONENT_CHUNK_BYTES)) {
                let key = keys::component(&version.digest, ordinal);
                self.tables.insert(&key, chunk.to_vec());
            }
        }
        version.uploaded_at = self.at();
        let version = Arc::new(version);
        let row_key = keys::plugin(version.name.as_str(), &version.version);
        self.tables.insert(&row_key, row::encode_json(&*version));
        let plugins = &mut Arc::make_mut(self.topology).plugins;
        plugins.insert(key, version.clone());
        Ok(Outcome::Plugin {
            version,
            created: true,
        })
    }

    fn has_component(&self, digest: &str) -> bool {
        let mut plugins = self.topology.plugins.values();
        plugins.any(|plugin| plugin.digest == digest)
    }

    pub(super) fn delete_plugin(&mut self, name: &Name, version: String) -> Result<Changed, Fault> {
        let called = format!("{name}@{version}");
        let key = (name.clone(), version);
        let Some(plugin) = self.topology.plugins.get(&key).cloned() else {
            return Ok(Err(Refusal::PluginNotFound(called)));
        };
        if let Some(user) = self.plugin_user(&plugin) {
            let reason = format!("plugin {called:?} is used by subscription {user:?}");
            return Ok(Err(Refusal::InUse(reason)));
        }
        self.revise();
        self.tables
            .remove(&keys::plugin(name.as_str(), &plugin.version));
        Arc::make_mut(self.topology).plugins.remove(&key);
        if !self.has_component(&plugin.digest) {
            self.remove_component(&plugin.digest)?;
        }
        Ok(Ok(Outcome::Deleted))
    }

    fn plugin_user(&self, plugin: &PluginVersion) -> Option<String> {
        self.subscriptions()
            .find(|(_, subscription)| {
                let binding = subscription.subscription.config.plugin.as_ref();
                binding.is_some_and(|binding| {
                    binding.name == plugin.name && binding.version == plugin.version
                })
            })
            .map(|(topic, subscription)| within(topic, &subscription.name))
    }

    fn remove_component(&mut self, digest: &str) -> Result<(), Fault> {
        let mut old = Vec::new();
        let (from, until) = chunks(digest);
        each_row(self.tables, &from, &until, |key, _| {
            old.push(key.to_vec());
            Ok(())
        })?;
        old.iter().for_each(|key| self.tables.remove(key));
        Ok(())
    }
}

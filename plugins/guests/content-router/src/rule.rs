//! [`Rule`]: a rule made ready to run.

use millrace_plugin::Event;
use serde_json::Value;

use crate::condition::{Condition, Tested};
use crate::config::RuleConfig;

/// One rule, with attribute names resolved to positions.
#[derive(Debug)]
pub(crate) struct Rule {
    attributes: Vec<(usize, Condition)>,
    data: Vec<(String, Condition)>,
    to: Vec<String>,
}

impl Rule {
    /// Resolves the names of `config` to positions in `names`, which must hold all of them.
    pub(crate) fn new(config: RuleConfig, names: &[String]) -> Self {
        let position = |name: &String| {
            names
                .iter()
                .position(|one| one == name)
                .expect("names were gathered from all rules")
        };
        Self {
            attributes: config
                .attributes
                .into_iter()
                .map(|(name, one)| (position(&name), one))
                .collect(),
            data: config.data.into_iter().collect(),
            to: config.to,
        }
    }

    /// Whether the rule looks into the data.
    pub(crate) fn reads_data(&self) -> bool {
        !self.data.is_empty()
    }

    /// Where a matching event goes.
    pub(crate) fn to(&self) -> &[String] {
        &self.to
    }

    /// Whether all conditions hold. `data` is the event's data, when it is JSON.
    pub(crate) fn matches(&self, event: &Event<'_>, data: Option<&Value>) -> bool {
        let attribute = |at: usize| event.attribute_at(at).map(Tested::Text);
        let field = |pointer: &str| {
            data.and_then(|data| data.pointer(pointer))
                .map(Tested::Json)
        };
        self.attributes
            .iter()
            .all(|(at, condition)| condition.holds(attribute(*at)))
            && self
                .data
                .iter()
                .all(|(pointer, condition)| condition.holds(field(pointer)))
    }
}

//! What each subscription did with a published event.

use anyhow::Result;
use serde_json::{Value, json};

use super::Output;

/// Prints one row for each event and subscription; JSON output is the answer as it came.
pub(super) fn print(out: Output, answer: &Value) -> Result<()> {
    if out.is_json() {
        return out.object(answer);
    }
    let none = Vec::new();
    let mut items = Vec::new();
    for message in answer["messages"].as_array().unwrap_or(&none) {
        for subscription in message["subscriptions"].as_array().unwrap_or(&none) {
            let mut row = subscription.clone();
            row["event"] = message["id"].clone();
            items.push(row);
        }
    }
    out.rows(
        &json!({ "items": items }),
        "items",
        &["event", "name", "outcome", "to", "plugin", "reason"],
    )
}

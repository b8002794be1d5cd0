//! What must hold at the end of every crash test.

use std::process::Command;

use millrace_tests::{Broker, Load, millrace};
use serde_json::Value;

/// Checks the history of the load, stops the broker, and audits what it left on disk.
pub(crate) fn judge(broker: &mut Broker, load: &Load) {
    let violations = load.history().violations();
    let (acknowledged, published) = load.history().published();
    println!(
        "{acknowledged} of {published} publishes acknowledged, {} deliveries",
        load.deliveries()
    );
    assert!(acknowledged > 100, "a load that was no load proves nothing");
    assert_eq!(violations, [], "{} promises broken", violations.len());
    assert!(broker.stop().success());
    audit(broker);
}

/// The offline audit finds every invariant kept, and the tables equal to a replay of the log.
fn audit(broker: &Broker) {
    let output = Command::new(millrace())
        .args(["check", "--output", "json"])
        .arg(broker.data())
        .output()
        .expect("the binary can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let audit: Value = serde_json::from_str(&said).expect("JSON");
    let groups = audit["groups"].as_array().expect("groups");
    assert!(groups.len() >= 2, "the catalog and the data: {audit}");
    for group in groups {
        assert_eq!(group["violations"], serde_json::json!([]), "{audit}");
        assert!(group["digest"].is_string(), "{audit}");
        assert_eq!(group["digest"], group["replay_digest"], "{audit}");
    }
}

//! What must hold at the end of a run.

use std::collections::BTreeMap;

use millrace_model::GroupId;

use crate::scene::{Audited, Scene};

/// Whether everything is consumed, and all nodes stand alike.
pub(crate) fn is_settled(scene: &Scene) -> bool {
    let audits = scene.audits.borrow();
    let mut groups: BTreeMap<GroupId, Vec<&Audited>> = BTreeMap::new();
    for ((_, group), audited) in audits.iter() {
        groups.entry(*group).or_default().push(audited);
    }
    let alike = |audits: &Vec<&Audited>| {
        let applied = audits.iter().all(|audit| audit.applied == audits[0].applied);
        applied && audits.len() as u64 == scene.nodes
    };
    scene.left.get() == Some(0) && groups.len() > 1 && groups.values().all(alike)
}

/// What does not hold, in words.
pub(crate) fn judge(scene: &Scene) -> Vec<String> {
    let mut wrong = scene.wrong.borrow().clone();
    let audits = scene.audits.borrow();
    for ((node, group), audited) in audits.iter() {
        let violations = audited.violations.iter();
        wrong.extend(violations.map(|what| format!("node {node}, group {group}: {what}")));
        let first = audits.iter().find(|((_, other), _)| other == group);
        let (_, first) = first.expect("this one at least");
        if first.applied == audited.applied && first.digest != audited.digest {
            wrong.push(format!("group {group} differs on node {node} at entry {}", audited.applied));
        }
    }
    scene.close_history();
    let violations = scene.history.violations();
    wrong.extend(violations.iter().map(|violation| format!("{violation:?}")));
    wrong
}

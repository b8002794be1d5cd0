//! What must hold at the end of a run.

use std::collections::BTreeMap;

use millrace_model::GroupId;

use millrace_tests::Violation;

use crate::scene::{Audited, Scene};

/// Whether everything is consumed, and all nodes stand alike.
pub(crate) fn is_settled(scene: &Scene) -> bool {
    if scene.left.get() != Some(0) || scene.change.borrow().is_some() {
        return false;
    }
    let audits = scene.audits.borrow();
    let mut groups: BTreeMap<GroupId, Vec<&Audited>> = BTreeMap::new();
    let members = scene.members.borrow();
    for ((node, group), audited) in audits.iter() {
        if !members.contains(node) {
            continue;
        }
        groups.entry(*group).or_default().push(audited);
    }
    let alike = |audits: &Vec<&Audited>| {
        let applied = audits
            .iter()
            .all(|audit| audit.applied == audits[0].applied);
        let nothing = audits.iter().all(|audit| audit.under_way == 0);
        applied && nothing && audits.len() == members.len()
    };
    groups.len() as u64 == u64::from(scene.groups) + 1 && groups.values().all(alike)
}

/// What does not hold, in words.
pub(crate) fn judge(scene: &Scene) -> Vec<String> {
    let mut wrong = scene.wrong.borrow().clone();
    scene.close_history();
    // What was to be consumed when the run was broken off is not lost.
    let violations = scene.history.violations().into_iter();
    let whole = wrong.is_empty();
    let violations = violations.filter(|found| whole || !matches!(found, Violation::Lost { .. }));
    wrong.extend(violations.map(|violation| format!("{violation:?}")));
    wrong.extend(scene.other_numbers());
    wrong
}

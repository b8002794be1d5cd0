//! Tag filters: any tag in common with the event.

use crate::event::{Attribute, Event};
use crate::filter::check_terms;
use crate::problem::Problem;

/// The tags of a filter, sorted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tags(Vec<Box<str>>);

impl Tags {
    pub(super) fn compile(tags: &[String], problems: &mut Vec<Problem>) -> Self {
        check_terms(tags, "/filter/tags", check_tag, problems);
        let mut tags: Vec<Box<str>> = tags.iter().map(|tag| tag.as_str().into()).collect();
        tags.sort_unstable();
        Self(tags)
    }

    /// Whether one of the event's `tags` (separated by commas, white space around them ignored, case
    /// kept) is a tag of the filter. An untagged event has none.
    pub(super) fn take(&self, event: &Event) -> bool {
        let tags = event.extension("tags").map(Attribute::text);
        tags.is_some_and(|tags| tags.split(',').any(|tag| self.has(tag.trim())))
    }

    fn has(&self, tag: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(tag)).is_ok()
    }
}

/// A tag that no event could have is a mistake.
fn check_tag(tag: &str) -> Result<(), String> {
    if tag.contains(',') || tag.trim() != tag || tag.chars().any(char::is_control) {
        return Err(
            "must have no comma, no control character and no white space at its ends".into(),
        );
    }
    Ok(())
}

//! Pages of lists.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use millrace_model::{Name, PayloadRef, limit};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::Failure;
use crate::query::Query;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    /// The items, in order.
    pub(crate) items: Vec<T>,
    /// What to pass as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let next = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "What to pass as `after` for the next page; absent on the last.",
            ));
        let page = ObjectBuilder::new()
            .property("items", items)
            .property("next", next);
        page.required("items").into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// The page of `map` that `query` asks for, each item shown by `show`.
pub(crate) fn by_name<'a, V, T>(
    map: &'a BTreeMap<Name, V>,
    query: &Query,
    show: impl Fn(&'a Name, &'a V) -> T,
) -> Page<T> {
    let (prefix, after) = (
        query.get("prefix").unwrap_or(""),
        query.get("after").unwrap_or(""),
    );
    let start = if after >= prefix && !after.is_empty() {
        Bound::Excluded(after)
    } else {
        Bound::Included(prefix)
    };
    let rest = map.range::<str, _>((start, Bound::Unbounded));
    let mut found = rest.take_while(|(name, _)| name.as_str().starts_with(prefix));
    let shown = found.by_ref().take(query.limit() as usize);
    let shown: Vec<_> = shown.collect();
    let more = found.next().is_some();
    let next = shown
        .last()
        .filter(|_| more)
        .map(|(name, _)| name.to_string());
    let items = shown
        .into_iter()
        .map(|(name, value)| show(name, value))
        .collect();
    Page { items, next }
}

/// Cuts a page where its events pass [`limit::RECEIVE_BYTES_MAX`], the first apart; tells whether it did.
pub(crate) fn cut<T>(items: &mut Vec<T>, place: impl Fn(&T) -> PayloadRef) -> bool {
    let mut bytes = 0;
    let mut fits = |item: &T| {
        bytes += u64::from(place(item).len);
        bytes <= limit::RECEIVE_BYTES_MAX
    };
    let fitting = items.iter().take_while(|item| fits(item)).count();
    let is_cut = fitting < items.len();
    items.truncate(fitting.max(1));
    is_cut
}

/// A stored event as it goes into an answer.
///
/// # Errors
/// 500: what is stored is JSON text.
pub(crate) fn stored(event: &[u8]) -> Result<&RawValue, Failure> {
    serde_json::from_slice(event).map_err(|_| Failure::internal("a stored event is not JSON"))
}

//! Things of the catalog as answers show them: name, configuration, version and times on one level.

use std::borrow::Cow;

use millrace_model::queue::QueueCounters;
use millrace_model::{GroupId, Name, QueueConfig, SubscriptionConfig, TopicConfig, Versioned};
use serde::Serialize;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::moving::MoveView;
use crate::rfc3339;

/// A thing with its configuration.
#[derive(Serialize)]
pub(crate) struct View<'a, T> {
    name: &'a Name,
    #[serde(flatten)]
    config: &'a T,
    version: u64,
    created_at: String,
    updated_at: String,
    /// Only of one queue, not of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    counters: Option<QueueCounters>,
    /// Of queues: the data group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    /// Of queues that move.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving: Option<MoveView>,
}

impl<'a, T> View<'a, T> {
    /// The thing called `name`.
    pub(crate) fn new(name: &'a Name, thing: &'a Versioned<T>) -> Self {
        Self {
            name,
            config: &thing.config,
            version: thing.version.0,
            created_at: rfc3339::text(thing.created_at),
            updated_at: rfc3339::text(thing.updated_at),
            counters: None,
            group: None,
            moving: None,
        }
    }

    /// The same, with the counters of a queue.
    pub(crate) fn counted(mut self, counters: QueueCounters) -> Self {
        self.counters = Some(counters);
        self
    }
}

impl View<'_, QueueConfig> {
    /// The same, with where the queue is, and where it comes from.
    pub(crate) fn placed(mut self, group: GroupId, moving: Option<MoveView>) -> Self {
        self.group = Some(group.0);
        self.moving = moving;
        self
    }
}

/// A kind of thing that has a configuration.
pub(crate) trait Kind: ToSchema {
    /// What it is called in the served document.
    const NAME: &'static str;
    /// Whether it has counters and a place.
    const COUNTED: bool = false;
}

impl Kind for TopicConfig {
    const NAME: &'static str = "Topic";
}

impl Kind for SubscriptionConfig {
    const NAME: &'static str = "Subscription";
}

impl Kind for QueueConfig {
    const NAME: &'static str = "Queue";
    const COUNTED: bool = true;
}

impl<T: Kind> PartialSchema for View<'_, T> {
    /// The configuration's own schema, with what the broker adds. Closed schemas cannot be joined by
    /// `allOf`, so it is opened.
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut object)) = T::schema() else {
            return Ref::from_schema_name(T::name()).into();
        };
        object.additional_properties = None;
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0));
        let time = || {
            let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(format))
        };
        let mut add = |name: &str, schema: RefOr<Schema>| {
            object.properties.insert(name.to_owned(), schema);
            object.required.push(name.to_owned());
        };
        add("name", Name::schema());
        add("version", number.into());
        add("created_at", time().into());
        add("updated_at", time().into());
        if T::COUNTED {
            let counters = Ref::from_schema_name(QueueCounters::name());
            let group = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1));
            let moving = Ref::from_schema_name(MoveView::name());
            let more: [(&str, RefOr<Schema>); 3] = [
                ("counters", counters.into()),
                ("group", group.into()),
                ("moving", moving.into()),
            ];
            let more = more.map(|(name, schema)| (name.to_owned(), schema));
            object.properties.extend(more);
        }
        Schema::Object(object).into()
    }
}

impl<T: Kind> ToSchema for View<'_, T> {
    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        if T::COUNTED {
            schemas.push((QueueCounters::name().into_owned(), QueueCounters::schema()));
            schemas.push((MoveView::name().into_owned(), MoveView::schema()));
        }
    }
}

//! The schema of a CloudEvent in its JSON form.

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A CloudEvent 1.0, for the served document alone.
pub(crate) struct CloudEvent;

impl PartialSchema for CloudEvent {
    fn schema() -> RefOr<Schema> {
        let text = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
        };
        let time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let version = text().enum_values(Some(["1.0"]));
        let base64 = ObjectBuilder::new()
            .schema_type(Type::String)
            .content_encoding("base64");
        ObjectBuilder::new()
            .description(Some(
                "A CloudEvent 1.0. Extension attributes stand beside those named here.",
            ))
            .property("specversion", version)
            .property("id", text())
            .property("source", text())
            .property("type", text())
            .property("subject", text())
            .property("time", text().format(Some(time)))
            .property("datacontenttype", text())
            .property("dataschema", text())
            .property(
                "data",
                ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue),
            )
            .property("data_base64", base64)
            .required("specversion")
            .required("id")
            .required("source")
            .required("type")
            .into()
    }
}

impl ToSchema for CloudEvent {}

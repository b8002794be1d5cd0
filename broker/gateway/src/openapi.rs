//! The served description of this interface: OpenAPI 3.1, made from the table of routes and the types that
//! they take and give.

mod event;
mod operation;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::{
    InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, RefOr, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::ProblemDocument;
use crate::routes::{self, Route};

pub(crate) use event::CloudEvent;

/// The schema of a type, by its name, with those that it refers to.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: fn() -> Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    nested: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    /// The schema of `T`.
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: <T as PartialSchema>::schema,
            nested: T::schemas,
        }
    }

    fn collect(self, schemas: &mut BTreeMap<String, RefOr<Schema>>) {
        let mut found = vec![((self.name)().into_owned(), (self.schema)())];
        (self.nested)(&mut found);
        schemas.extend(found);
    }
}

/// What the body of a request is.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// None is looked at.
    Nothing,
    /// JSON; whether it must be there.
    Json(Shape, bool),
    /// Events in any form.
    Events,
    /// A WebAssembly component.
    Component,
}

/// What an answer is when the request is not refused.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    /// JSON.
    Json(u16, Shape),
    /// Any JSON object.
    Object(u16),
    /// No body.
    Nothing(u16),
    /// Text of a media type.
    Text(&'static str),
    /// A WebAssembly component, in place of JSON.
    Component,
}

/// The description as JSON text.
pub(crate) fn text() -> Bytes {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = document().to_json();
        text.expect("the document has string keys only").into()
    });
    TEXT.clone()
}

fn document() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"));
    let info = InfoBuilder::new()
        .title("Millrace")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("An event broker that you program with WebAssembly."))
        .license(Some(license.build()));
    let mut paths = PathsBuilder::new();
    for route in routes::all() {
        let item = PathItem::new(method(&route.method), operation::of(route));
        paths = paths.path(route.path, item);
    }
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas() {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn method(method: &Method) -> HttpMethod {
    match method.as_str() {
        "PUT" => HttpMethod::Put,
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// All schemas that any route refers to.
fn schemas() -> BTreeMap<String, RefOr<Schema>> {
    let mut schemas = BTreeMap::new();
    Shape::of::<ProblemDocument<'_>>().collect(&mut schemas);
    Shape::of::<CloudEvent>().collect(&mut schemas);
    routes::all()
        .iter()
        .flat_map(shapes)
        .for_each(|shape| shape.collect(&mut schemas));
    schemas
}

fn shapes(route: &Route) -> Vec<Shape> {
    let given = route.gives.iter().filter_map(|gives| match gives {
        Gives::Json(_, shape) => Some(*shape),
        _ => None,
    });
    let taken = match route.takes {
        Takes::Json(shape, _) => Some(shape),
        _ => None,
    };
    given.chain(taken).collect()
}

//! One route as the served document shows it.

use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{CloudEvent, Gives, Takes};
use crate::json::JSON;
use crate::plugin::WASM;
use crate::problem::{PROBLEM_JSON, ProblemDocument};
use crate::query::{Kind, Param};
use crate::routes::Route;

/// Refusals of a head that cannot be read, beside 400: any request may get them.
const UNREADABLE: [u16; 2] = [414, 431];

/// The operation of a route.
pub(super) fn of(route: &Route) -> Operation {
    let tag = route
        .path
        .trim_start_matches("/v1")
        .split('/')
        .nth(1)
        .unwrap_or("");
    let tag = if route.path.starts_with("/v1") {
        tag
    } else {
        "operations"
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(route.id))
        .tag(tag);
    for parameter in parameters(route) {
        operation = operation.parameter(parameter);
    }
    operation = operation.request_body(body(route.takes));
    for (status, response) in responses(route) {
        operation = operation.response(status.to_string(), response);
    }
    operation.build()
}

fn parameters(route: &Route) -> Vec<Parameter> {
    let segments = route.path.split('/');
    let named = segments.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<_> = named.map(path_parameter).collect();
    parameters.extend(route.query.iter().map(query_parameter));
    if route.has_version {
        let tags = || text().pattern(Some(r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#));
        let about = "Entity tags of versions, or `*`.";
        parameters.extend(["If-Match", "If-None-Match"].map(|name| header(name, about, tags())));
    }
    if matches!(route.takes, Takes::Events) {
        let key = text()
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[ -~]+$"));
        let key_about = "Accepts the request once within the window.";
        let delay = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0));
        let delay = delay.maximum(Some(millrace_model::limit::DURATION_SECONDS_MAX as usize));
        parameters.push(header("Idempotency-Key", key_about, key));
        parameters.push(header(
            "Millrace-Delay-Seconds",
            "Delays the events.",
            delay,
        ));
    }
    parameters
}

fn path_parameter(name: &str) -> Parameter {
    let schema = match name {
        "version" => text().pattern(Some("^[A-Za-z0-9._+-]{1,64}$")).into(),
        "node" => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(crate::members::NODE_MAX as usize))
            .into(),
        _ => millrace_model::Name::schema(),
    };
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path);
    parameter
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn query_parameter(param: &Param) -> Parameter {
    let words = |words: &'static [&'static str]| text().enum_values(Some(words.iter().copied()));
    let schema: Schema = match param.kind {
        Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        Kind::Number(least, most) => {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            let number = number.minimum(Some(least as usize));
            number.maximum(Some(most as usize)).into()
        }
        Kind::Word(known) => words(known).into(),
        Kind::Words(known) => ArrayBuilder::new()
            .items(words(known))
            .min_items(Some(1))
            .into(),
        Kind::Text => text().into(),
    };
    let is_list = matches!(param.kind, Kind::Words(_));
    ParameterBuilder::new()
        .name(param.name)
        .parameter_in(ParameterIn::Query)
        .description(Some(param.about))
        .schema(Some(schema))
        .explode(is_list.then_some(false))
        .build()
}

fn header(name: &str, about: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn anything() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue)
}

fn body(takes: Takes) -> Option<RequestBody> {
    let content = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    let bytes = || content(anything().into());
    let event = || RefOr::from(Ref::from_schema_name(CloudEvent::name()));
    let builder = RequestBodyBuilder::new();
    Some(match takes {
        Takes::Nothing => return None,
        Takes::Json(shape, required) => {
            let schema = Ref::from_schema_name((shape.name)());
            let required = if required {
                Required::True
            } else {
                Required::False
            };
            builder
                .content(JSON, content(schema.into()))
                .required(Some(required))
                .build()
        }
        Takes::Events => {
            let batch = ArrayBuilder::new()
                .items(event())
                .min_items(Some(1))
                .max_items(Some(1_000));
            builder
                .description(Some(
                    "A CloudEvent (structured, batched, or binary with ce- headers), or a plain body.",
                ))
                .content("application/cloudevents+json", content(event()))
                .content("application/cloudevents-batch+json", content(batch.into()))
                .content(JSON, content(anything().into()))
                .content("text/plain", content(text().into()))
                .content("application/octet-stream", bytes())
                .build()
        }
        Takes::Component => builder
            .content(WASM, bytes())
            .content("application/octet-stream", bytes())
            .required(Some(Required::True))
            .build(),
    })
}

fn responses(route: &Route) -> Vec<(u16, ResponseBuilder)> {
    let mut responses: Vec<_> = route
        .gives
        .iter()
        .filter_map(|gives| given(route, *gives))
        .collect();
    if route.has_version && route.method == http::Method::GET {
        responses.push((304, described("The client knows this version.")));
    }
    let refuses = route.refuses.iter().chain(&UNREADABLE);
    responses.extend(refuses.map(|status| (*status, refused(*status))));
    responses
}

fn given(route: &Route, gives: Gives) -> Option<(u16, ResponseBuilder)> {
    let content = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    let (status, mut response) = match gives {
        // It is a second form of the answer before it.
        Gives::Component => return None,
        Gives::Nothing(status) => (status, described("Done.")),
        Gives::Object(status) => {
            let object = ObjectBuilder::new().schema_type(Type::Object);
            (
                status,
                described("The document.").content(JSON, content(object.into())),
            )
        }
        Gives::Text(media_type) => (
            200,
            described("The text.").content(media_type, content(text().into())),
        ),
        Gives::Json(status, shape) => {
            let schema = Ref::from_schema_name((shape.name)());
            (
                status,
                described("Done.").content(JSON, content(schema.into())),
            )
        }
    };
    if route
        .gives
        .iter()
        .any(|gives| matches!(gives, Gives::Component))
    {
        response = response.content(WASM, content(anything().into()));
    }
    if route.has_version && matches!(gives, Gives::Json(..)) {
        let etag = HeaderBuilder::new()
            .schema(Some(text()))
            .description(Some("The version."));
        response = response.header("ETag", etag.build());
    }
    Some((status, response))
}

fn refused(status: u16) -> ResponseBuilder {
    let phrase = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let schema = Ref::from_schema_name(ProblemDocument::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    described(phrase.unwrap_or("Error")).content(PROBLEM_JSON, content)
}

fn described(text: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(text)
}

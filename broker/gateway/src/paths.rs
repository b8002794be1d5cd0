//! Which route a request takes: the table of [`crate::routes`], by path and method.
//!
//! Paths are matched by matchit, as axum does it; what lies between it and a handler is a call.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use http::{HeaderValue, Method};
use matchit::Router;
use percent_encoding::percent_decode_str;

use crate::routes::{self, Route};

/// Most parts of a path that a route names.
const PARAMS_MAX: usize = 2;

/// What a request asks for.
pub(crate) enum Found {
    /// A route, and the parts of the path that it names.
    Route(&'static Route, Params),
    /// Nothing: no route has the path.
    NoPath,
    /// Nothing: routes of the path have these methods.
    NoMethod(&'static HeaderValue),
    /// A part of the path is not UTF-8, percent-encoded.
    NotText,
}

/// The parts of a path that its route names, decoded.
#[derive(Debug, Default)]
pub(crate) struct Params([Option<(&'static str, Text)>; PARAMS_MAX]);

/// A part of a path.
#[derive(Debug)]
enum Text {
    /// It is written as it is.
    Plain(Range<usize>),
    /// It was percent-encoded.
    Decoded(String),
}

/// What one path has.
struct Methods {
    routes: Vec<&'static Route>,
    allow: HeaderValue,
}

/// The route of a method and a path. `HEAD` is a `GET` whose answer hyper sends without its body.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    static PATHS: LazyLock<Router<Methods>> = LazyLock::new(paths);
    let Ok(matched) = PATHS.at(path) else {
        return Found::NoPath;
    };
    let method = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    let routes = &matched.value.routes;
    match routes.iter().find(|route| route.method == *method) {
        None => Found::NoMethod(&matched.value.allow),
        Some(route) => match Params::read(path, &matched.params) {
            Some(params) => Found::Route(route, params),
            None => Found::NotText,
        },
    }
}

fn paths() -> Router<Methods> {
    let mut by_path = BTreeMap::<&str, Vec<&'static Route>>::new();
    for route in routes::all() {
        by_path.entry(route.path).or_default().push(route);
    }
    let mut paths = Router::new();
    for (path, routes) in by_path {
        let allow = allow(&routes);
        let inserted = paths.insert(path, Methods { routes, allow });
        inserted.expect("the table has well-formed paths");
    }
    paths
}

fn allow(routes: &[&Route]) -> HeaderValue {
    let mut methods: Vec<_> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    HeaderValue::try_from(methods.join(", ")).expect("methods are visible ASCII")
}

impl Params {
    fn read(path: &str, matched: &matchit::Params<'static, '_>) -> Option<Self> {
        let mut params = Self::default();
        for (place, (name, value)) in params.0.iter_mut().zip(matched.iter()) {
            *place = Some((name, Text::read(path, value)?));
        }
        Some(params)
    }

    /// The part that the route names `name`, of the path that this was read from.
    pub(crate) fn get<'a>(&'a self, path: &'a str, name: &str) -> Option<&'a str> {
        let mut named = self.iter(path).filter(|(key, _)| *key == name);
        named.next().map(|(_, text)| text)
    }

    /// All of them.
    pub(crate) fn iter<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let text = move |text: &'a Text| match text {
            Text::Plain(place) => path.get(place.clone()).unwrap_or(""),
            Text::Decoded(text) => text,
        };
        let params = self.0.iter().flatten();
        params.map(move |(name, part)| (*name, text(part)))
    }
}

impl Text {
    /// The part `value` of `path`; none when it decodes to no text.
    fn read(path: &str, value: &str) -> Option<Self> {
        if value.contains('%') {
            let decoded = percent_decode_str(value).decode_utf8().ok()?;
            return Some(Self::Decoded(decoded.into_owned()));
        }
        let from = value.as_ptr().addr().checked_sub(path.as_ptr().addr())?;
        Some(Self::Plain(from..from + value.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            Found::Route(route, params) => {
                let params: Vec<_> = (params.iter(path))
                    .map(|(name, text)| format!(" {name}={text}"))
                    .collect();
                format!("{}{}", route.id, params.concat())
            }
            Found::NoPath => "no path".to_owned(),
            Found::NoMethod(allow) => allow.to_str().expect("ASCII").to_owned(),
            Found::NotText => "not text".to_owned(),
        }
    }

    #[test]
    fn every_route_is_found_by_its_own_pattern() {
        for route in routes::all() {
            let path = route.path.replace(['{', '}'], "");
            let said = found(&route.method, &path);
            assert!(said.starts_with(route.id), "{} {said}", route.path);
            let named = route.path.matches('{').count();
            assert!(named <= PARAMS_MAX, "{}: raise PARAMS_MAX", route.path);
            assert_eq!(said.matches('=').count(), named, "{said}");
        }
    }

    #[test]
    fn paths_and_methods() {
        for (method, path, want) in [
            (Method::GET, "/v1/topics/a", "get_topic topic=a"),
            (Method::HEAD, "/v1/topics/a", "get_topic topic=a"),
            (Method::GET, "/v1/topics/a%2Fb", "get_topic topic=a/b"),
            (Method::GET, "/v1/topics/%ff", "not text"),
            (Method::GET, "/v1/topics/", "no path"),
            (Method::GET, "/v1/topics/a/", "no path"),
            (Method::GET, "/", "no path"),
            (Method::GET, "*", "no path"),
            (Method::PATCH, "/v1/queues", "GET, HEAD"),
            (Method::POST, "/v1/queues/q", "GET, PUT, DELETE, HEAD"),
            (Method::POST, "/v1/plugins/check", "check_plugin"),
            (Method::POST, "/v1/plugins/p", "GET, HEAD"),
        ] {
            assert_eq!(found(&method, path), want, "{method} {path}");
        }
    }
}

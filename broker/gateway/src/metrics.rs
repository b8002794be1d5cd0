//! What the door counts, as OpenMetrics text. Counting is a few relaxed additions: no locks, no maps.

mod flow;
mod histogram;
mod process;

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::flow::Flow;
use crate::metrics::histogram::Histogram;
use crate::metrics::process::Process;
use crate::problem::Failure;
use crate::routes::{self, Route};

/// The media type of the text.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text's last line.
const END: &str = "# EOF\n";

/// Everything that the door counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    routes: Vec<RouteMetrics>,
    problems: Family<CodeLabel, Counter>,
    flow: Flow,
}

/// What is counted for one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    /// Answers by the first digit of their status, from 2 to 5.
    answers: [Counter; 4],
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: &'static str,
}

impl Metrics {
    /// Counters at zero, for every route.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let answers = Family::<AnswerLabels, Counter>::default();
        let seconds = Family::<RouteLabels, Histogram>::default();
        let of = |route| RouteMetrics::new(route, &answers, &seconds);
        let routes = routes::all().iter().map(of).collect();
        registry.register("millrace_http_requests", "Requests answered", answers);
        registry.register("millrace_http_request_seconds", "Time to answer", seconds);
        registry.register_collector(Box::new(Process));
        let flow = Flow::new(&mut registry);
        let problems = Family::default();
        let about = "Requests refused, by code";
        registry.register("millrace_http_problems", about, problems.clone());
        Self {
            registry,
            routes,
            problems,
            flow,
        }
    }

    /// The events and messages that pass.
    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The metrics of a route.
    pub(crate) fn route(&self, route: &Route) -> &RouteMetrics {
        &self.routes[route.index]
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, code: &str) {
        let code = code.to_owned();
        self.problems.get_or_create(&CodeLabel { code }).inc();
    }

    /// All of it, with the lines of other rooms.
    ///
    /// # Errors
    /// 500 when a metric cannot be written as text.
    pub(crate) fn text(&self, rooms: &[String]) -> Result<String, Failure> {
        let mut text = String::with_capacity(64 * 1024);
        encode_registry(&mut text, &self.registry)
            .map_err(|_| Failure::internal("a metric has no text"))?;
        for lines in rooms {
            let lines = lines.strip_suffix(END).unwrap_or(lines);
            text.push_str(lines);
            if !lines.is_empty() && !lines.ends_with('\n') {
                text.push('\n');
            }
        }
        text.push_str(END);
        Ok(text)
    }
}

impl RouteMetrics {
    fn new(
        route: &'static Route,
        answers: &Family<AnswerLabels, Counter>,
        seconds: &Family<RouteLabels, Histogram>,
    ) -> Self {
        let (method, path) = (route.method.as_str(), route.path);
        let of_status = |status| {
            answers.get_or_create_owned(&AnswerLabels {
                method,
                route: path,
                status,
            })
        };
        let labels = RouteLabels {
            method,
            route: path,
        };
        Self {
            answers: ["2xx", "3xx", "4xx", "5xx"].map(of_status),
            seconds: seconds.get_or_create_owned(&labels),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5);
        self.answers[class - 2].inc();
        self.seconds.observe(took);
    }
}

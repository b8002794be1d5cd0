//! The floor: what HTTP alone costs on this machine.
//!
//! A bare hyper server in a process and on a runtime like the broker's reads each body whole and answers with the same
//! bytes. It is loaded by the code that loads the broker, with bodies of the same size, so that the ratio of the two rates
//! says how much of what is physically possible the broker reaches. Echoing 1 KiB rather than the broker's shorter answer
//! costs the floor about 1 %.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::args::BenchArgs;
use super::probe::Probe;
use super::process::Process;
use super::publish::{hammer, load};
use super::report::Report;
use super::request::Request;
use crate::runtime;

/// Measures the floor alone.
pub(super) async fn run(args: &BenchArgs) -> Result<Report> {
    let server = Process::floor().await?;
    let url = server.url().to_owned();
    let authority = url.trim_start_matches("http://").to_owned();
    let request = Request::publish(&authority, "/", args.batch(), args.bytes());
    let probe = Probe::Process(server.id()?);
    let (tally, spent) = hammer(&load(args, authority, request), args.seconds, &probe).await?;
    server.stop().await?;
    let mut report = Report::new(args, &tally, &spent);
    report.nodes = 0;
    Ok(report)
}

/// Measures the floor for half of the time of a scenario, under its connections, bodies and pace: once before it and once
/// after, since machines that are shared change from one minute to the next.
pub(super) async fn half(args: &BenchArgs) -> Result<Report> {
    let mut half = args.clone();
    half.seconds = (args.seconds / 2).max(1);
    run(&half).await
}

/// Puts the mean of two halves of the floor beside the figures of the scenario that ran between them: what can be had at
/// most, or of a paced one how long it takes at least.
pub(super) fn put_beside(args: &BenchArgs, report: &mut Report, halves: &[Report; 2]) {
    if args.rate.is_some() {
        put_latency(report, halves);
    } else {
        put_rate(args, report, halves);
    }
}

fn put_latency(report: &mut Report, [before, after]: &[Report; 2]) {
    let percentiles = [
        ("floor_p50_ms", before.p50_ms, after.p50_ms),
        ("floor_p99_ms", before.p99_ms, after.p99_ms),
    ];
    for (name, before, after) in percentiles {
        if let Some((before, after)) = before.zip(after) {
            report.put(name, f64::midpoint(before, after));
        }
    }
}

fn put_rate(args: &BenchArgs, report: &mut Report, [before, after]: &[Report; 2]) {
    let floor = f64::midpoint(before.requests_per_second, after.requests_per_second);
    report.put("floor_requests_per_second", floor);
    let cpu = before
        .server_cpu_us_per_event
        .zip(after.server_cpu_us_per_event);
    if let Some((before, after)) = cpu {
        #[expect(clippy::cast_precision_loss, reason = "a batch is at most 1000")]
        let requests = args.batch() as f64;
        let cpu = f64::midpoint(before, after) * requests;
        report.put("floor_cpu_us_per_request", cpu);
    }
    if floor > 0.0 {
        report.put("ratio", report.requests_per_second / floor);
    }
}

/// Serves the echo until it is told to stop: the hidden command `bench-floor-server`.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn serve() -> Result<()> {
    runtime::server(None)?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a free port")?;
        println!("listening on http://{}", listener.local_addr()?);
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = accept(listener) => result,
            _ = stop.recv() => Ok(()),
        }
    })
}

async fn accept(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve_connection(stream));
    }
}

async fn serve_connection(stream: TcpStream) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new());
    // A connection that breaks is the client's to notice.
    let _ = server
        .serve_connection(TokioIo::new(stream), service_fn(echo))
        .await;
}

async fn echo(request: HttpRequest<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.into_body().collect().await {
        Ok(body) => Ok(Response::new(Full::new(body.to_bytes()))),
        Err(_) => {
            let mut refusal = Response::new(Full::default());
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            Ok(refusal)
        }
    }
}

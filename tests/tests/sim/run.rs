//! One run: a seed, a safety phase, a liveness phase, a verdict.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millrace_store::simulation;
use turmoil::{Builder, Sim};

use crate::client::below;
use crate::judge::{is_settled, judge};
use crate::nemesis::Nemesis;
use crate::node::{self, host};
use crate::plant::Plant;
use crate::scene::{Phase, Scene};

/// How long things go wrong.
const LOAD_MS: u64 = 30_000;

/// How long it may take until a catalog is made.
const SETUP_MS_MAX: u64 = 20_000;

/// How long it may take, once nothing goes wrong any more, until all is consumed and alike.
const DRAIN_MS_MAX: u64 = 60_000;

/// How long nothing may happen any more before it is the end: what is under way between groups comes out of nowhere.
const QUIET_MS: u64 = 1_500;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(seed) = arguments.first().and_then(|seed| seed.parse().ok()) else {
        eprintln!("usage: sim SEED [--plant WHAT] [--verbose]: see tests/sim/run");
        return ExitCode::from(2);
    };
    let verbose = arguments.iter().any(|argument| argument == "--verbose");
    let planted = arguments
        .iter()
        .skip_while(|argument| *argument != "--plant");
    let plant = planted.skip(1).find_map(|name| Plant::named(name));
    if verbose {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .init();
    }
    if run(seed, plant, verbose) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether every promise was kept.
fn run(seed: u64, plant: Option<Plant>, verbose: bool) -> bool {
    simulation::begin(seed);
    let nodes = if below(4) == 0 { 5 } else { 3 };
    let groups = 1 + u32::try_from(below(3)).unwrap();
    let snapshot_bytes = [30 << 10, 200 << 10, 128 << 20][usize::try_from(below(3)).unwrap()];
    let latency = Duration::from_millis(1 + below(20));
    let scene = Scene::new(nodes, groups, snapshot_bytes, verbose);
    scene.plant.set(plant);
    scene.tell(format!(
        "{nodes} nodes, {groups} data groups, a snapshot each {snapshot_bytes} bytes, messages take up to {latency:?}"
    ));
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(latency)
        .tcp_capacity(1 << 20)
        .enable_random_order()
        .build();
    (1..=nodes).for_each(|node| add_host(&mut sim, &scene, node));
    let began = Instant::now();
    let mut nemesis = Nemesis::new(&scene, latency);
    let mut phases = Phases::default();
    while scene.phase.get() != Phase::Done {
        step(&mut sim, &scene, &mut nemesis, &mut phases);
    }
    let wrong = judge(&scene);
    let (took, figures) = (began.elapsed(), scene.history.figures());
    let simulated = sim.elapsed().as_secs_f64();
    println!(
        "seed {seed}: {}, {nodes} nodes, {groups} groups, {} published, {} acknowledged, {} found, {} lost, {} delivered again, {} faults, {} moves, {simulated:.1} s simulated in {:.2} s, trace {:016x}",
        if wrong.is_empty() { "passed" } else { "FAILED" },
        figures.published,
        figures.acknowledged,
        figures.found,
        figures.lost,
        figures.duplicated,
        nemesis.faults,
        scene.moved(),
        took.as_secs_f64(),
        scene.trace(),
    );
    if !wrong.is_empty() {
        if !verbose {
            scene
                .story
                .borrow()
                .iter()
                .for_each(|line| println!("{line}"));
        }
        wrong
            .iter()
            .for_each(|what| println!("seed {seed}: {what}"));
    }
    // Threads and runtimes of what is left need not be taken down.
    std::mem::forget(sim);
    wrong.is_empty()
}

/// Adds the host of a node.
pub(crate) fn add_host(sim: &mut Sim<'_>, scene: &Rc<Scene>, node: u64) {
    let scene = Rc::clone(scene);
    sim.host(host(node), move || {
        let scene = Rc::clone(&scene);
        async move {
            node::run(scene, node).await;
            Ok(())
        }
    });
}

/// When the phases began.
#[derive(Default)]
struct Phases {
    load_ms: Option<u64>,
    drain_ms: Option<u64>,
    settled_ms: Option<u64>,
}

fn step(sim: &mut Sim<'_>, scene: &Rc<Scene>, nemesis: &mut Nemesis, phases: &mut Phases) {
    let now_ms = u64::try_from(sim.elapsed().as_millis()).unwrap();
    simulation::set_now(now_ms);
    scene.mark(now_ms);
    if let Err(error) = sim.step() {
        scene.object(format!("a node has panicked: {error}"));
        scene.phase.set(Phase::Done);
        return;
    }
    simulation::objections()
        .into_iter()
        .for_each(|what| scene.object(what));
    nemesis.step(sim, now_ms);
    match scene.phase.get() {
        Phase::Setup if now_ms > SETUP_MS_MAX => {
            scene.object("no catalog was made");
            scene.phase.set(Phase::Done);
        }
        Phase::Load if now_ms >= *phases.load_ms.get_or_insert(now_ms) + LOAD_MS => {
            scene.tell("nothing goes wrong any more");
            scene.phase.set(Phase::Drain);
        }
        Phase::Drain => {
            let since = now_ms - *phases.drain_ms.get_or_insert(now_ms);
            let settled_ms = is_settled(scene).then(|| phases.settled_ms.unwrap_or(now_ms));
            phases.settled_ms = settled_ms;
            if settled_ms.is_some_and(|settled_ms| now_ms >= settled_ms + QUIET_MS) {
                scene.tell("all is consumed, and all nodes are alike");
                scene.phase.set(Phase::Done);
            } else if since > DRAIN_MS_MAX {
                let audits = scene.audits.borrow().clone();
                scene.object(format!(
                    "not settled in time: {:?} left, moving: {:?}, {audits:?}",
                    scene.left.get(),
                    scene.moving.borrow(),
                ));
                scene.phase.set(Phase::Done);
            }
        }
        _ => {}
    }
    if !scene.wrong.borrow().is_empty() {
        scene.phase.set(Phase::Done);
    }
}

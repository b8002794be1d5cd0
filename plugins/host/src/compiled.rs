//! [`Compiled`]: a component that was checked and compiled, ready to be instantiated.

use millrace_model::plugin::World;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::contract::IMPORTS;
use crate::guest::Guest;

/// First bytes of a component; a core module has other ones behind `\0asm`.
const COMPONENT: &[u8] = b"\0asm\x0d\x00\x01\x00";
const CORE_MODULE: &[u8] = b"\0asm\x01\x00\x00\x00";

/// A component with its world.
pub(crate) struct Compiled {
    /// What it is for.
    pub(crate) world: World,
    /// The interfaces that it imports, all of them allowed.
    pub(crate) imports: Vec<String>,
    /// Types checked, imports resolved.
    pub(crate) pre: InstancePre<Guest>,
}

/// `sha256:` and the hex digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::from("sha256:"), |text, byte| {
        text + &format!("{byte:02x}")
    })
}

impl Compiled {
    /// Checks and compiles `bytes`: seconds of CPU for large ones, so never on an async thread.
    ///
    /// # Errors
    /// A sentence that says why it is no plugin.
    pub(crate) fn new(
        engine: &Engine,
        linker: &Linker<Guest>,
        bytes: &[u8],
    ) -> Result<Self, String> {
        check_header(bytes)?;
        let component = Component::from_binary(engine, bytes)
            .map_err(|error| format!("not a valid component: {error:#}"))?;
        let imports = imports(engine, &component)?;
        let world = world(engine, &component)?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| format!("an import does not fit: {error:#}"))?;
        Ok(Self {
            world,
            imports,
            pre,
        })
    }
}

/// The name of the function that runs a batch in `world`.
pub(crate) fn entry(world: World) -> &'static str {
    match world {
        World::Filter => "matches",
        World::Router => "route",
        World::Transform => "transform",
    }
}

fn check_header(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(CORE_MODULE) {
        return Err(
            "this is a core module, not a component: link it with wasm-component-ld".into(),
        );
    }
    if !bytes.starts_with(COMPONENT) {
        return Err("this is not a WebAssembly component".into());
    }
    Ok(())
}

fn imports(engine: &Engine, component: &Component) -> Result<Vec<String>, String> {
    let names: Vec<String> = component
        .component_type()
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    match names
        .iter()
        .find(|name| !IMPORTS.iter().any(|allowed| name.starts_with(allowed)))
    {
        Some(name) => Err(format!(
            "imports {name}, which a plugin may not have: only millrace:plugin/log can be imported"
        )),
        None => Ok(names),
    }
}

fn world(engine: &Engine, component: &Component) -> Result<World, String> {
    let component = component.component_type();
    let exports = |name: &str| component.get_export(engine, name).is_some();
    for needed in ["describe", "configure"] {
        if !exports(needed) {
            return Err(format!(
                "exports no function {needed}: it targets none of the worlds of millrace:plugin"
            ));
        }
    }
    let worlds = [World::Filter, World::Router, World::Transform]
        .into_iter()
        .filter(|world| exports(entry(*world)));
    match worlds.collect::<Vec<_>>()[..] {
        [world] => Ok(world),
        [] => Err("exports none of matches, route and transform: it targets none of the worlds of millrace:plugin".into()),
        _ => Err("exports more than one of matches, route and transform: a plugin has one world".into()),
    }
}

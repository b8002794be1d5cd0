//! What `wit-bindgen` makes of `plugin.wit`, one module a world. All unsafe code of a plugin is in here, and generated.
//!
//! Not for authors: the traits and macros of this crate are the API. Public only because the macros expand in the
//! author's crate.

/// The world `filter`, and the types that all worlds share.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod filter {
    wit_bindgen::generate!({
        world: "filter",
        path: "../wit",
        pub_export_macro: true,
        default_bindings_module: "millrace_plugin::bindings::filter",
        additional_derives: [PartialEq],
        export_macro_name: "export_filter",
    });
}

/// The world `router`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod router {
    wit_bindgen::generate!({
        world: "router",
        path: "../wit",
        pub_export_macro: true,
        default_bindings_module: "millrace_plugin::bindings::router",
        export_macro_name: "export_router",
        with: {
            "millrace:plugin/types@0.1.0": super::filter::millrace::plugin::types,
            "millrace:plugin/log@0.1.0": super::filter::millrace::plugin::log,
        },
    });
}

/// The world `transform`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod transform {
    wit_bindgen::generate!({
        world: "transform",
        path: "../wit",
        pub_export_macro: true,
        default_bindings_module: "millrace_plugin::bindings::transform",
        export_macro_name: "export_transform",
        with: {
            "millrace:plugin/types@0.1.0": super::filter::millrace::plugin::types,
            "millrace:plugin/log@0.1.0": super::filter::millrace::plugin::log,
        },
    });
}

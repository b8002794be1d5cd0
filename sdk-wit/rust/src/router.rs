//! [`Router`]: chooses destinations.

use serde::de::DeserializeOwned;

use crate::{Description, Event, Failure, Problem, Wishes};

/// A plugin that chooses where each event goes, and never touches the event.
///
/// Export it with [`router!`](crate::router!); test it with [`testing::RouterHarness`](crate::testing::RouterHarness).
pub trait Router: Sized + 'static {
    /// The configuration, read from the JSON document of the subscription. Add `#[serde(deny_unknown_fields)]`, so that
    /// a misspelt field is a problem with its place and not a surprise.
    type Config: DeserializeOwned;

    /// Says what the plugin is. Called once, at upload, in an instance of its own.
    fn describe() -> Description;

    /// Makes a plugin of a configuration. `destinations` are the names that the subscription declares (`default` alone
    /// when it has a single one): check against them the names that the configuration mentions.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration. The subscription is refused with this list.
    fn configure(config: Self::Config, destinations: &[String]) -> Result<Self, Vec<Problem>>;

    /// What the plugin wants to see of each event. Asked once, after `configure`. Ask for little: what is not asked for is
    /// not copied, and the body costs most.
    fn wishes(&self) -> Wishes;

    /// The names of the destinations of the event, each one declared by the subscription; none drops the event.
    ///
    /// # Errors
    /// A [`Failure`] of this event alone: the rest of the batch goes on. A panic fails the whole batch.
    fn route(&self, event: &Event<'_>) -> Result<Vec<String>, Failure>;
}

/// Exports a [`Router`](trait@crate::Router) as the plugin of this crate: once a crate.
#[macro_export]
macro_rules! router {
    ($plugin:ty) => {
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static INSTANCE: $crate::export::Instance<$plugin> = const { $crate::export::Instance::new() };
            }

            impl $crate::bindings::router::Guest for Component {
                fn describe() -> $crate::Description {
                    <$plugin as $crate::Router>::describe()
                }

                fn configure(setup: $crate::export::Setup) -> Result<$crate::Wishes, Vec<$crate::Problem>> {
                    let configure = <$plugin as $crate::Router>::configure;
                    INSTANCE.with(|instance| instance.configure(&setup, configure, <$plugin as $crate::Router>::wishes))
                }

                fn route(batch: Vec<$crate::export::Event>) -> Vec<Result<Vec<String>, $crate::Failure>> {
                    INSTANCE.with(|instance| instance.run(&batch, <$plugin as $crate::Router>::route))
                }
            }

            $crate::bindings::router::export_router!(Component with_types_in $crate::bindings::router);
        };
    };
}

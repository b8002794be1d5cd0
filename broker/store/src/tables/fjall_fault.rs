//! fjall's errors as faults.

use millrace_model::Fault;

/// fjall's error as a fault met while doing `context`: `.map_err(fault("read a row"))`.
pub(crate) fn fault(context: &'static str) -> impl FnOnce(crate::kv::Error) -> Fault {
    move |error| Fault::new(context, error)
}

//! fjall's errors as faults.

use millrace_model::Fault;

/// How fjall names what it cannot read; it has no word for it that people know.
const DAMAGE: [&str; 6] = [
    "ChecksumMismatch",
    "Decompress",
    "InvalidHeader",
    "InvalidTag",
    "InvalidTrailer",
    "Unrecoverable",
];

/// fjall's error as a fault met while doing `context`: `.map_err(fault("read a row"))`.
pub(crate) fn fault(context: &'static str) -> impl FnOnce(crate::kv::Error) -> Fault {
    move |error| {
        let said = error.to_string();
        let is_damage = DAMAGE.iter().any(|word| said.contains(word));
        if is_damage {
            Fault::damage(context, format_args!("the tables are damaged: {said}"))
        } else {
            Fault::new(context, said)
        }
    }
}

//! Walks over rows in steps, so that no answer of the tables is without bound.

use millrace_model::{Fault, Tables};

/// Rows of one step.
const STEP: usize = 1_024;

/// Calls `each` with every row of `from <= key < until`, in order.
pub(crate) fn each_row<T: Tables>(
    tables: &T,
    from: &[u8],
    until: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut from = from.to_vec();
    loop {
        let rows = tables.scan(&from, until, STEP)?;
        rows.iter().try_for_each(|(key, value)| each(key, value))?;
        // A short step was the last: another one would walk over what was removed behind it.
        match rows.len() {
            STEP => from = after(&rows[STEP - 1].0),
            _ => return Ok(()),
        }
    }
}

/// The first key behind `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The fault of a row whose key or value is not as it was written.
pub(crate) fn damaged(what: &str) -> Fault {
    Fault::new(
        &format!("read the row of {what}"),
        "it is damaged or missing",
    )
}

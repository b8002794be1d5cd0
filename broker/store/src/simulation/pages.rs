//! The bytes of a file, in pages that copies share and of which none holds zeros alone: a reserve of 96 MiB costs nothing,
//! nor does a copy of it.

use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// The bytes of a file.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    len: usize,
    /// By number; one that is missing is zeros.
    pages: BTreeMap<usize, Arc<Page>>,
}

/// The parts of `len` bytes from `at`, each within a page: its page, where it begins in there, and which bytes they are.
fn parts(at: usize, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let inside = (at + from) % PAGE_BYTES;
        let to = (from + PAGE_BYTES - inside).min(len);
        let part = ((at + from) / PAGE_BYTES, inside, from..to);
        let is_left = from < len;
        from = to;
        is_left.then_some(part)
    })
}

impl Pages {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads from `at` on; how many bytes there were.
    pub(crate) fn read(&self, buffer: &mut [u8], at: usize) -> usize {
        let len = buffer.len().min(self.len.saturating_sub(at));
        for (number, inside, part) in parts(at, len) {
            let into = &mut buffer[part];
            match self.pages.get(&number) {
                Some(page) => into.copy_from_slice(&page[inside..inside + into.len()]),
                None => into.fill(0),
            }
        }
        len
    }

    /// Writes `bytes` from `at` on; the file grows when it must.
    pub(crate) fn write(&mut self, bytes: &[u8], at: usize) {
        self.len = self.len.max(at + bytes.len());
        for (number, inside, part) in parts(at, bytes.len()) {
            let from = &bytes[part];
            if !self.pages.contains_key(&number) && from.iter().all(|byte| *byte == 0) {
                continue;
            }
            let page = self.pages.entry(number);
            let page = Arc::make_mut(page.or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            page[inside..inside + from.len()].copy_from_slice(from);
        }
    }

    /// Cuts the file, or lets it grow by zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES)) {
                Arc::make_mut(page)[len % PAGE_BYTES..].fill(0);
            }
        }
        self.len = len;
    }
}

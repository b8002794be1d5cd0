//! Names and contents of files: what is synced, and what was changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Loss;
use super::pages::Pages;

/// What a disk writes as a whole, in bytes.
const SECTOR_BYTES: usize = 512;

/// A change of names that no sync of the folder has covered.
enum Renaming {
    Set(PathBuf, u64),
    Remove(PathBuf),
    /// Both names change as one, as in the journal of a file system.
    Move(PathBuf, PathBuf, u64),
}

/// The files of a disk.
#[derive(Default)]
pub(crate) struct Image {
    pub(crate) names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    renamings: Vec<Renaming>,
    /// Folders count as synced when they are made: nobody relies on an empty one.
    pub(crate) folders: BTreeSet<PathBuf>,
    pub(crate) files: BTreeMap<u64, Content>,
    next_file: u64,
}

/// A file.
#[derive(Default)]
pub(crate) struct Content {
    now: Pages,
    synced: Pages,
    /// What was written since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// The length was set since the last sync.
    resized: bool,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    pub(crate) fn read(&self, buffer: &mut [u8], at: usize) -> usize {
        self.now.read(buffer, at)
    }

    pub(crate) fn write(&mut self, bytes: Vec<u8>, at: usize) {
        self.now.write(&bytes, at);
        self.unsynced.push((at, bytes));
    }

    pub(crate) fn resize(&mut self, len: usize) {
        self.now.resize(len);
        self.resized = true;
    }

    pub(crate) fn sync(&mut self) {
        if self.resized || !self.unsynced.is_empty() {
            self.synced.clone_from(&self.now);
        }
        self.unsynced.clear();
        self.resized = false;
    }

    fn crash(&mut self, loss: Loss, random: &mut impl FnMut() -> u64) {
        match loss {
            Loss::Nothing => self.sync(),
            Loss::Everything => {}
            Loss::Torn => self.tear(random),
        }
        self.unsynced.clear();
        self.resized = false;
        self.now.clone_from(&self.synced);
    }

    fn tear(&mut self, random: &mut impl FnMut() -> u64) {
        for (at, bytes) in self.unsynced.drain(..) {
            let mut from = 0;
            while from < bytes.len() {
                let to = ((at + from) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
                let to = to.min(bytes.len());
                if random() % 2 == 0 {
                    self.synced.write(&bytes[from..to], at + from);
                }
                from = to;
            }
        }
        if self.resized && random() % 2 == 0 {
            self.synced.resize(self.now.len());
        }
    }
}

impl Image {
    /// Makes an empty file of this name.
    pub(crate) fn create(&mut self, path: &Path) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, Content::default());
        self.set(path, self.next_file);
        self.next_file
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let files = self.names.values().filter_map(|file| self.files.get(file));
        files.map(|file| file.len() as u64).sum()
    }

    fn set(&mut self, path: &Path, file: u64) {
        self.names.insert(path.to_path_buf(), file);
        let renaming = Renaming::Set(path.to_path_buf(), file);
        self.renamings.push(renaming);
    }

    /// Whether there was such a name.
    pub(crate) fn remove(&mut self, path: &Path) -> Option<u64> {
        let file = self.names.remove(path)?;
        self.renamings.push(Renaming::Remove(path.to_path_buf()));
        Some(file)
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> Option<()> {
        let file = self.names.remove(from)?;
        self.names.insert(to.to_path_buf(), file);
        let renaming = Renaming::Move(from.to_path_buf(), to.to_path_buf(), file);
        self.renamings.push(renaming);
        Some(())
    }

    /// Makes the names in `folder` durable. All others too: file systems have one journal.
    pub(crate) fn sync_names(&mut self) {
        let all = self.renamings.len();
        self.keep_names(all);
    }

    fn keep_names(&mut self, count: usize) {
        for renaming in self.renamings.drain(..).take(count) {
            match renaming {
                Renaming::Set(path, file) => {
                    self.synced_names.insert(path, file);
                }
                Renaming::Remove(path) => {
                    self.synced_names.remove(&path);
                }
                Renaming::Move(from, to, file) => {
                    self.synced_names.remove(&from);
                    self.synced_names.insert(to, file);
                }
            }
        }
    }

    pub(crate) fn crash(&mut self, loss: Loss, random: &mut impl FnMut() -> u64) {
        let changes = self.renamings.len();
        self.keep_names(match loss {
            Loss::Nothing => changes,
            Loss::Everything => 0,
            Loss::Torn => usize::try_from(random() % (changes as u64 + 1)).expect("a count"),
        });
        self.names.clone_from(&self.synced_names);
        let named: BTreeSet<_> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        for file in self.files.values_mut() {
            file.crash(loss, random);
        }
    }
}

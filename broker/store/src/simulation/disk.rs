//! What the broker uses of `std::fs`, on simulated disks.

use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};

use super::image::Content;
use super::{node_of, world};

/// An open file, or folder.
#[derive(Debug)]
pub struct File {
    node: u64,
    life: u64,
    /// None for a folder.
    file: Option<u64>,
    /// For those who read or write one byte after the other.
    at: usize,
}

/// How a file is opened.
#[derive(Debug, Default)]
pub struct OpenOptions {
    create: bool,
    truncate: bool,
}

/// What is known of a file.
#[derive(Debug)]
pub struct Metadata(u64);

/// A name in a folder.
#[derive(Debug)]
pub struct DirEntry(PathBuf);

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

#[allow(missing_docs, reason = "as in the standard library")]
impl OpenOptions {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn read(&mut self, _: bool) -> &mut Self {
        self
    }

    pub fn write(&mut self, _: bool) -> &mut Self {
        self
    }

    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    pub fn custom_flags(&mut self, _: i32) -> &mut Self {
        self
    }

    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let (mut world, node) = (world(), node_of(path));
        let disk = world.at(path)?;
        let life = disk.life;
        let found = disk.image.names.get(path).copied();
        let file = match found {
            Some(file) => {
                if self.truncate {
                    let content = disk.image.files.get_mut(&file).ok_or_else(missing)?;
                    content.resize(0);
                }
                Some(file)
            }
            None if self.create => {
                let file = disk.image.create(path);
                world.changed(node)?;
                Some(file)
            }
            None if disk.image.folders.contains(path) => None,
            None => return Err(missing()),
        };
        let at = 0;
        Ok(File {
            node,
            life,
            file,
            at,
        })
    }
}

#[allow(missing_docs, reason = "as in the standard library")]
impl File {
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().open(path)
    }

    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().create(true).truncate(true).open(path)
    }

    /// Looks at the content.
    fn look<R>(&self, look: impl FnOnce(&Content) -> R) -> io::Result<R> {
        let mut world = world();
        let image = &mut world.alive(self.node, self.life)?.image;
        let file = self.file.and_then(|file| image.files.get(&file));
        Ok(look(file.ok_or_else(missing)?))
    }

    /// Changes the content.
    fn change(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut world = world();
        let image = &mut world.alive(self.node, self.life)?.image;
        let file = self.file.and_then(|file| image.files.get_mut(&file));
        change(file.ok_or_else(missing)?);
        world.changed(self.node)
    }

    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.look(|content| content.read(buffer, at))
    }

    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if self.read_at(buffer, at)? < buffer.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }

    pub fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.change(|content| content.write(bytes.to_vec(), at))
    }

    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.change(|content| content.resize(len))
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.look(|content| Metadata(content.len() as u64))
    }

    /// The sync of a machine that dies in it may have been done, or not.
    pub fn sync_all(&self) -> io::Result<()> {
        let mut world = world();
        let late = world.random() % 2 == 0;
        world.alive(self.node, self.life)?;
        if late {
            world.changed(self.node)?;
        }
        let image = &mut world.alive(self.node, self.life)?.image;
        match self.file {
            Some(file) => image.files.get_mut(&file).ok_or_else(missing)?.sync(),
            None => image.sync_names(),
        }
        if late {
            Ok(())
        } else {
            world.changed(self.node)
        }
    }

    pub fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all_at(bytes, self.at as u64)?;
        self.at += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.read_at(buffer, self.at as u64)?;
        self.at += len;
        Ok(len)
    }
}

#[allow(missing_docs, reason = "as in the standard library")]
#[allow(clippy::len_without_is_empty, reason = "as in the standard library")]
impl Metadata {
    pub fn len(&self) -> u64 {
        self.0
    }
}

#[allow(missing_docs, reason = "as in the standard library")]
impl DirEntry {
    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    pub fn file_name(&self) -> std::ffi::OsString {
        self.0.file_name().unwrap_or_default().to_os_string()
    }
}

/// As in the standard library.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let mut world = world();
    let disk = world.at(path.as_ref())?;
    let ancestors = path.as_ref().ancestors().map(Path::to_path_buf);
    disk.image.folders.extend(ancestors);
    Ok(())
}

/// As in the standard library.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let mut world = world();
    let disk = world.at(from.as_ref())?;
    let renamed = disk.image.rename(from.as_ref(), to.as_ref());
    renamed.ok_or_else(missing)?;
    world.changed(node_of(from.as_ref()))
}

/// As in the standard library.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let mut world = world();
    let disk = world.at(path.as_ref())?;
    disk.image.remove(path.as_ref()).ok_or_else(missing)?;
    world.changed(node_of(path.as_ref()))
}

/// As in the standard library.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    File::open(path)?.metadata()
}

/// As in the standard library.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// As in the standard library, in the order of names.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    let mut world = world();
    let disk = world.at(path.as_ref())?;
    if !disk.image.folders.contains(path.as_ref()) {
        return Err(missing());
    }
    let names = disk.image.names.keys();
    let inside = names.filter(|name| name.parent() == Some(path.as_ref()));
    let entries: Vec<_> = inside.cloned().map(DirEntry).map(Ok).collect();
    Ok(entries.into_iter())
}

/// Whether there is anything at `path`.
pub fn exists(path: &Path) -> bool {
    let mut world = world();
    let Ok(disk) = world.at(path) else {
        return false;
    };
    disk.image.names.contains_key(path) || disk.image.folders.contains(path)
}

/// As [`File::read_at`]: all is at hand.
pub(crate) fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    file.read_at(buffer, at)
}

/// A simulated disk has one process.
pub(crate) fn flock(_: &File, _: rustix::fs::FlockOperation) -> rustix::io::Result<()> {
    Ok(())
}

/// The file becomes as long as that.
pub(crate) fn fallocate(
    file: &File,
    _: rustix::fs::FallocateFlags,
    _: u64,
    len: u64,
) -> rustix::io::Result<()> {
    file.set_len(len).map_err(|_| rustix::io::Errno::IO)
}

/// Writes all of `slices`.
pub(crate) fn pwritev(file: &File, slices: &[IoSlice<'_>], at: u64) -> rustix::io::Result<usize> {
    let mut bytes = Vec::new();
    slices
        .iter()
        .for_each(|slice| bytes.extend_from_slice(slice));
    let (len, at) = (
        bytes.len(),
        usize::try_from(at).expect("a file fits memory"),
    );
    let written = file.change(|content| content.write(bytes, at));
    written.map(|()| len).map_err(|_| rustix::io::Errno::IO)
}

/// How much room there is.
pub(crate) struct Room {
    pub(crate) f_bavail: u64,
    pub(crate) f_frsize: u64,
}

/// As much as the harness leaves.
pub(crate) fn statvfs(path: &Path) -> rustix::io::Result<Room> {
    let mut world = world();
    let disk = world.at(path).map_err(|_| rustix::io::Errno::IO)?;
    Ok(Room {
        f_bavail: disk.room(),
        f_frsize: 1,
    })
}

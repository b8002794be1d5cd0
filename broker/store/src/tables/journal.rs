//! Cutting the end of fjall's journal where a power loss tore it in a way that fjall refuses.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use millrace_model::Fault;
use xxhash_rust::xxh3::Xxh3;

/// Cuts the newest journal in `dir` after its last sound batch, and says how many bytes went; 0 when it is sound.
///
/// Flushes are not synced at once, and after a power loss blocks may be missing anywhere in what was not. fjall takes an
/// undecodable entry for the end and cuts there by itself. But where a missing block lies within one value, everything
/// decodes, the batch's checksum is wrong, and fjall refuses to open. Cutting is as safe there as it is elsewhere: the
/// tables come back at an earlier commit and the log is replayed, or does not reach back so far, which is noticed.
/// Older journals were synced before a newer one was begun, so they are never cut: damage there is real.
pub(crate) fn cut_torn_end(dir: &Path) -> Result<u64, Fault> {
    let failed = |error| Fault::new("read the newest journal of tables", error);
    let Some(path) = newest(dir).map_err(failed)? else {
        return Ok(0);
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let sound = sound_bytes(&file).map_err(failed)?;
    file.set_len(sound)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    Ok(len - sound)
}

fn newest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|kind| kind == "jnl");
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        journals.extend(number.filter(|_| is_journal).map(|number| (number, path)));
    }
    Ok(journals.into_iter().max().map(|(_, path)| path))
}

/// Length of the sound batches at the start of a journal.
fn sound_bytes(file: &File) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut sound = 0;
    loop {
        match batch(&mut reader) {
            Ok(Some(bytes)) => sound += bytes,
            Ok(None) => return Ok(sound),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(sound),
            Err(error) => return Err(error),
        }
    }
}

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];
/// Tag, item count, sequence number.
const START_BYTES: usize = 1 + 4 + 8;
/// Tag, kind of value, compression, keyspace, length of key, of value, and of value as stored.
const ITEM_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
/// Tag, checksum of all items, trailer.
const END_BYTES: usize = 1 + 8 + 4;

/// Length of the batch that starts here; `None` when it is not sound. Compressed values and clearings of keyspaces are
/// not: tables make neither. All numbers are little-endian.
fn batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let mut start = [0; START_BYTES];
    reader.read_exact(&mut start)?;
    let [START, items @ ..] = start else {
        return Ok(None);
    };
    let [a, b, c, d, ..] = items;
    let mut checksum = Xxh3::new();
    let mut bytes = (START_BYTES + END_BYTES) as u64;
    for _ in 0..u32::from_le_bytes([a, b, c, d]) {
        match item(reader, &mut checksum)? {
            Some(more) => bytes += more,
            None => return Ok(None),
        }
    }
    let mut end = [0; END_BYTES];
    reader.read_exact(&mut end)?;
    let mut expected = [END; END_BYTES];
    expected[1..9].copy_from_slice(&checksum.digest().to_le_bytes());
    expected[9..].copy_from_slice(&TRAILER);
    Ok((end == expected).then_some(bytes))
}

fn item(reader: &mut impl Read, checksum: &mut Xxh3) -> io::Result<Option<u64>> {
    let mut head = [0; ITEM_BYTES];
    reader.read_exact(&mut head)?;
    let [ITEM, _, 0, _, _, _, _, _, _, _, _, rest @ ..] = head else {
        return Ok(None);
    };
    let [k0, k1, _, _, _, _, v0, v1, v2, v3] = rest;
    let key = u16::from_le_bytes([k0, k1]);
    let value = u32::from_le_bytes([v0, v1, v2, v3]);
    let body = u64::from(key) + u64::from(value);
    checksum.update(&head);
    let mut left = body;
    let mut block = [0; 4096];
    while left > 0 {
        let part = usize::try_from(left)
            .unwrap_or(block.len())
            .min(block.len());
        reader.read_exact(&mut block[..part])?;
        checksum.update(&block[..part]);
        left -= part as u64;
    }
    Ok(Some(ITEM_BYTES as u64 + body))
}

use super::*;

/// Bytes that the folder takes on disk: files of the log in use, and everything of the payloads' keyspace.
fn disk_bytes(node: &Node, dir: &Path) -> u64 {
    let segments: u64 = node.log.segments().iter().map(|_| 64 << 10).sum();
    segments + folder_bytes(&dir.join("tables/keyspaces"))
}

fn folder_bytes(dir: &Path) -> u64 {
    let mut bytes = 0;
    for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = file.metadata() else { continue };
        bytes += if meta.is_dir() {
            folder_bytes(&file.path())
        } else {
            meta.len()
        };
    }
    bytes
}

/// The promise is one and a half times what lives and 256 MiB, which are four segments: here they are 64 KiB each.
/// Lifetimes are mixed: most payloads go at once, a tenth stays for a while, and one of each segment is forgotten.
#[test]
fn disk_use_follows_what_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path());
    let mut spiller = node.spiller();
    let forgotten = |place: PayloadRef| place.index.is_multiple_of(12) && place.offset == 0;
    let slow = |place: PayloadRef| {
        (place.index + u64::from(place.offset / PAYLOAD_BYTES)).is_multiple_of(9)
    };
    for round in 0..30_u64 {
        node.fill(60);
        let newest = node.next;
        node.thin(|place| {
            let age = newest - place.index;
            forgotten(place) || age < 20 || (slow(place) && age < 400)
        });
        while spiller.round().unwrap() > 0 {}
        node.tables.flush().unwrap();
        if round > 8 {
            node.tables.handle().tidy(0).unwrap();
            let live = node.live().len() as u64 * u64::from(PAYLOAD_BYTES);
            let bound = live + live / 2 + 4 * (64 << 10);
            // Segments are given back by the log's own thread, a sync later.
            eventually("disk use is within its bound", || {
                node.tables.flush().unwrap();
                disk_bytes(&node, dir.path()) <= bound
            });
        }
    }
    node.check();
    // Everything goes: so does the disk use.
    node.thin(|_| false);
    node.tables.handle().tidy(0).unwrap();
    eventually("the disk is given back", || {
        node.tables.handle().tidy(0).unwrap();
        disk_bytes(&node, dir.path()) < 2 << 20
    });
    node.check();
    drop((node, spiller));
    Node::open(dir.path()).check();
}

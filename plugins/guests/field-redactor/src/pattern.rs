//! Paths with wildcards, and the walk of all of them at once through a document.

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// This key or index.
    Exact(String),
    /// Any key or index.
    Any,
    /// Any number of segments, none included.
    Deep,
}

/// A JSON Pointer in which `*` stands for any segment and `**` for any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Segment>);

impl Pattern {
    /// Reads a path.
    pub(crate) fn parse(path: &str) -> Result<Self, &'static str> {
        let rest = path.strip_prefix('/').ok_or("a path begins with '/'")?;
        let segments: Vec<Segment> = rest.split('/').map(segment).collect();
        match segments.last() {
            Some(Segment::Deep) => Err("'**' cannot be the last segment: end with a key or '*'"),
            _ => Ok(Self(segments)),
        }
    }

    /// Whether the last segment names one key, so that a rename makes sense.
    pub(crate) fn ends_with_a_key(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Exact(_)))
    }
}

fn segment(text: &str) -> Segment {
    match text {
        "*" => Segment::Any,
        "**" => Segment::Deep,
        // RFC 6901: first ~1, then ~0, or "~01" would become "/".
        _ => Segment::Exact(text.replace("~1", "/").replace("~0", "~")),
    }
}

/// How far one pattern has come: `at` segments of the pattern number `pattern` lie behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) pattern: usize,
    at: usize,
}

/// Where all patterns stand at the root of a document.
pub(crate) fn start(patterns: &[Pattern]) -> Vec<Progress> {
    let mut active = Vec::with_capacity(patterns.len());
    for pattern in 0..patterns.len() {
        enter(&mut active, patterns, Progress { pattern, at: 0 });
    }
    active
}

/// Where they stand one step down, at `key`: those that end there are in `ended`, in the order of the patterns.
pub(crate) fn step(
    patterns: &[Pattern],
    active: &[Progress],
    key: &str,
    ended: &mut Vec<usize>,
) -> Vec<Progress> {
    let mut next = Vec::new();
    for progress in active {
        let forward = Progress {
            at: progress.at + 1,
            ..*progress
        };
        match &patterns[progress.pattern].0[progress.at] {
            Segment::Deep => enter(&mut next, patterns, *progress),
            Segment::Any => enter(&mut next, patterns, forward),
            Segment::Exact(wanted) if wanted == key => enter(&mut next, patterns, forward),
            Segment::Exact(_) => {}
        }
    }
    let done = |progress: &Progress| progress.at == patterns[progress.pattern].0.len();
    ended.extend(
        next.iter()
            .filter(|progress| done(progress))
            .map(|progress| progress.pattern),
    );
    ended.sort_unstable();
    next.retain(|progress| !done(progress));
    next
}

/// Adds a progress, and the one behind it when it stands before a `**`, which may be empty.
fn enter(active: &mut Vec<Progress>, patterns: &[Pattern], progress: Progress) {
    let mut progress = progress;
    loop {
        if !active.contains(&progress) {
            active.push(progress);
        }
        if patterns[progress.pattern].0.get(progress.at) != Some(&Segment::Deep) {
            return;
        }
        progress.at += 1;
    }
}

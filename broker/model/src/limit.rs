//! Every limit of the broker, with its unit in its name and its source beside it.
//!
//! The relations between limits are asserted where they are declared.

/// Longest name, in bytes (`API.md`, Conventions).
pub const NAME_BYTES_MAX: usize = 80;

/// Largest event as stored: the CloudEvents JSON text, in bytes (`API.md`, Events: 1 MiB of event; the
/// text form of binary data is a third longer, and attributes come on top).
pub const STORED_EVENT_BYTES_MAX: usize = 2 * EVENT_BYTES_MAX;

/// Largest event as published, in bytes (`API.md`, Events).
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Largest request body of a publish or send, in bytes (`API.md`, Events).
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most events in one request (`API.md`, Events).
pub const REQUEST_EVENTS_MAX: usize = 1_000;

/// Most extension attributes of one event (`API.md`, Events).
pub const EXTENSIONS_MAX: usize = 64;

/// Longest name of an extension attribute, in bytes. CloudEvents advises 20; producers exceed it.
pub const EXTENSION_NAME_BYTES_MAX: usize = 64;

/// Longest CloudEvents attribute value, in bytes. The specification sets none; 64 KiB of context in
/// total is what intermediaries must forward, so one attribute may take a quarter of it.
pub const ATTRIBUTE_BYTES_MAX: usize = 16 * 1024;

/// Longest `Idempotency-Key`, in bytes. Stripe and the IETF draft both stop at 255.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// How long a topic remembers an `Idempotency-Key`, in milliseconds: the default of a queue's
/// `deduplication_seconds`, and of SQS.
pub const TOPIC_DEDUPLICATION_MS: u64 = 300_000;

/// Most messages of one receive, and most receipts of one ack, nack or extend (`API.md`, Queues).
pub const RECEIVE_MESSAGES_MAX: u32 = 1_000;

/// Most bytes of stored events that one receive returns; the first message always fits.
pub const RECEIVE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Longest long poll, in seconds (`API.md`, Queues; SQS stops at 20, CMQ at 30).
pub const WAIT_SECONDS_MAX: u32 = 30;

/// Longest lease, in seconds: 12 hours, as SQS and CMQ have it.
pub const VISIBILITY_SECONDS_MAX: u32 = 43_200;

/// Shortest retention of a queue, in seconds.
pub const RETENTION_SECONDS_MIN: u64 = 60;

/// Longest delay and retention, in seconds: a hundred years, so that sums of times never overflow.
pub const DURATION_SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// Longest deduplication window of a queue, in seconds: a week.
pub const DEDUPLICATION_SECONDS_MAX: u64 = 7 * 86_400;

/// Most receives before a dead letter (`API.md`, Queues).
pub const DEAD_LETTER_RECEIVES_MAX: u32 = 1_000;

/// Most leased entries of one queue. SQS refuses at 120,000; leases are held in memory.
pub const QUEUE_LEASED_MAX: u64 = 120_000;

/// Most topics, queues and plugin versions of one broker, each; the catalog is held in memory.
pub const CATALOG_ITEMS_MAX: usize = 100_000;

/// Most subscriptions of one topic.
pub const TOPIC_SUBSCRIPTIONS_MAX: usize = 10_000;

/// Longest chain of topics that an event may follow (`API.md`: chains up to 8 hops).
pub const TOPIC_HOPS_MAX: usize = 8;

/// Most deliveries of one event over all its subscriptions and hops.
pub const EVENT_DELIVERIES_MAX: usize = 20_000;

/// Most destinations that one subscription declares.
pub const DESTINATIONS_MAX: usize = 256;

/// Most tags or keys in one filter. The tags of an event are limited by the size of the attribute.
pub const FILTER_TERMS_MAX: usize = 256;

/// Longest tag or key of a filter, and longest `routingkey` of an event, in bytes: a short string of AMQP.
pub const FILTER_TERM_BYTES_MAX: usize = 255;

/// Most conditions in one `match` filter, the values of every `anything-but` counted. SNS stops at 150
/// combinations of values, since it multiplies them out; here each condition is tried on its own.
pub const FILTER_CONDITIONS_MAX: usize = 256;

/// Deepest nesting of objects in a `match` filter, `$or` counted.
pub const FILTER_DEPTH_MAX: usize = 16;

/// Most problems that are reported of one document: enough to work with, and a bound on the answer.
pub const PROBLEMS_MAX: usize = 32;

/// Largest configuration document of one plugin binding, in bytes.
pub const PLUGIN_CONFIG_BYTES_MAX: usize = 256 * 1024;

/// Largest JSON document of a configuration request (topic, queue, subscription), in bytes.
pub const CONFIG_BYTES_MAX: usize = 512 * 1024;

/// Largest plugin component, in bytes. Components from JavaScript reach 12 MB, from Python 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Size of one row of a stored component, in bytes: rows stay far below a memtable.
pub const COMPONENT_CHUNK_BYTES: usize = 256 * 1024;

/// Most commands in one batch, which is one entry of the log.
pub const BATCH_COMMANDS_MAX: usize = 512;

/// Bytes after which a batch is closed. One larger command travels alone.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Most commands of one group that wait for a batch; past it a request gets 429.
pub const PROPOSALS_WAITING_MAX: usize = 8_192;

/// Most bytes of commands of one group that wait for a batch; past it a request gets 429.
pub const PROPOSALS_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most entries that one tick moves, so that due work never holds up the log.
pub const TICK_WORK_MAX: usize = 1_024;

/// Most items of one page of a list.
pub const PAGE_ITEMS_MAX: u32 = 1_000;

/// Items of a page when the request names no limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 100;

/// Most long polls waiting at one node.
pub const WAITERS_MAX: usize = 100_000;

/// Most events that one redrive moves.
pub const REDRIVE_MESSAGES_MAX: u32 = 1_000;

/// Most ready entries that one redrive looks at: those whose source is gone stay, and are looked at again by
/// the next one.
pub const REDRIVE_EXAMINED_MAX: u64 = 16 * 1_024;

/// Most parked events of one subscription; past it a publish that would park is refused with 429.
pub const PARKED_EVENTS_MAX: u64 = 1_000_000;

/// How often a publish is planned again after its plan went stale.
pub const PLAN_ATTEMPTS_MAX: usize = 8;

/// Most data groups of one broker. Each has batches and elections of its own, and more than one for two cores lose
/// throughput: 16 serve machines of 32 cores.
pub const DATA_GROUPS_MAX: u32 = 16;

/// Deliveries that may wait to be carried to one other group; a publish that comes past it gets 429. An event is taken
/// in whole, so one event of many deliveries may go past it.
pub const OUTBOX_ROWS_MAX: u64 = 1_000_000;

/// Bytes of stored events that may wait to be carried to one other group, counted once a delivery.
pub const OUTBOX_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most deliveries that are carried to another group at once.
pub const CARRY_ROWS_MAX: usize = 1_024;

/// Bytes of stored events after which what is carried at once is closed; one larger event travels alone.
pub const CARRY_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Most queues that move at once because dead letters tie them together.
pub const MOVE_QUEUES_MAX: usize = 64;

const _: () = assert!(FILTER_TERM_BYTES_MAX <= ATTRIBUTE_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX <= REQUEST_BYTES_MAX);
const _: () = assert!(STORED_EVENT_BYTES_MAX as u64 <= RECEIVE_BYTES_MAX);
const _: () = assert!(PAGE_ITEMS_DEFAULT <= PAGE_ITEMS_MAX);
const _: () = assert!(BATCH_BYTES_MAX < PROPOSALS_WAITING_BYTES_MAX);
const _: () = assert!(REDRIVE_MESSAGES_MAX as u64 <= REDRIVE_EXAMINED_MAX);
const _: () = assert!(RECEIVE_MESSAGES_MAX as u64 <= QUEUE_LEASED_MAX);
const _: () = assert!(REQUEST_BYTES_MAX + COMPONENT_BYTES_MAX < u32::MAX as usize);

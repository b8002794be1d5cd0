// The broker over HTTP: everything that a client needs is fetch.
const SERVER = process.env.MILLRACE_SERVER ?? "http://127.0.0.1:7440";
const BATCH = 100;

export async function api(method, path, body, contentType = "application/json") {
  const bytes = body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(SERVER + path, { method, headers: { "content-type": contentType }, body: bytes });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

// Publishes in batches; `explain` makes the broker say what each subscription did with each event.
export async function publish(topic, events) {
  const results = [];
  for (let at = 0; at < events.length; at += BATCH) {
    const batch = events.slice(at, at + BATCH);
    const path = `/v1/topics/${topic}/messages?explain=true`;
    const { messages } = await api("POST", path, batch, "application/cloudevents-batch+json");
    const failed = messages.find((message) => message.error);
    if (failed) throw new Error(`not accepted: ${JSON.stringify(failed)}`);
    results.push(...messages);
  }
  return results;
}

// Receives and acknowledges until the queue is empty. Gives the events, with the number of acks as `acked`.
export async function consume(queue) {
  const events = [];
  events.acked = 0;
  for (;;) {
    const { messages } = await api("POST", `/v1/queues/${queue}/receive`, { max: BATCH });
    if (messages.length === 0) return events;
    events.push(...messages.map((message) => message.event));
    const receipts = messages.map((message) => message.receipt);
    events.acked += (await api("POST", `/v1/queues/${queue}/ack`, { receipts })).acked;
  }
}

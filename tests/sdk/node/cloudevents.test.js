// The npm SDK `cloudevents` publishes in all three modes, and parses what is received.
// Nobody of Millrace wrote that SDK: where it and the broker agree, they agree on the specification.
// The broker's address comes from MILLRACE_SERVER.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { CloudEvent, HTTP } from "cloudevents";

const server = process.env.MILLRACE_SERVER;
const json = { "content-type": "application/json" };

async function call(method, path, body, headers = json) {
  const text = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(server + path, { method, headers, body: text });
  const said = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${said}`);
  return JSON.parse(said);
}

const publish = (message) => call("POST", "/v1/topics/node-sdk/messages", message.body, message.headers);

// Receives and acks as many events, parsed by the SDK.
async function receive(count) {
  const { messages } = await call("POST", "/v1/queues/node-sdk/receive", { max: count, wait_seconds: 5 });
  assert.equal(messages.length, count);
  const receipts = messages.map((message) => message.receipt);
  assert.equal((await call("POST", "/v1/queues/node-sdk/ack", { receipts })).acked, count);
  const headers = { "content-type": "application/cloudevents+json" };
  return messages.map(({ event }) => HTTP.toEvent({ headers, body: JSON.stringify(event) }));
}

function assertSame(got, sent) {
  assert.deepEqual(got.toJSON(), sent.toJSON());
}

const event = (id, data, rest = {}) =>
  new CloudEvent({
    id,
    source: "/node/sdk",
    type: "test.node",
    subject: "a subject",
    time: "2026-01-02T03:04:05.678Z",
    datacontenttype: "application/json",
    data,
    ...rest,
  });

before(async () => {
  await call("PUT", "/v1/topics/node-sdk", {});
  await call("PUT", "/v1/queues/node-sdk", {});
  await call("PUT", "/v1/topics/node-sdk/subscriptions/all", { to: { queue: "node-sdk" } });
});

test("binary mode with JSON", async () => {
  const sent = event("binary-json", { price: 12.5, name: "ü" }, { partitionkey: "k1" });
  const answer = await publish(HTTP.binary(sent));
  assert.equal(answer.messages[0].id, "binary-json");
  assertSame((await receive(1))[0], sent);
});

test("structured mode with JSON", async () => {
  const sent = event("structured-json", { list: [1, null, true] }, { tags: "a,b", flag: true, number: 7 });
  await publish(HTTP.structured(sent));
  assertSame((await receive(1))[0], sent);
});

test("structured mode with bytes", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  const sent = event("structured-bytes", bytes, { datacontenttype: "application/octet-stream" });
  await publish(HTTP.structured(sent));
  const [got] = await receive(1);
  assert.deepEqual(Uint8Array.from(got.data), bytes);
  assert.equal(got.id, sent.id);
});

test("batch mode", async () => {
  const sent = Array.from({ length: 20 }, (_, n) => event(`batch-${n}`, { n }));
  const body = `[${sent.map((one) => HTTP.structured(one).body).join(",")}]`;
  const answer = await publish({ headers: { "content-type": "application/cloudevents-batch+json" }, body });
  assert.deepEqual(answer.messages.map((one) => one.id), sent.map((one) => one.id));
  const got = await receive(20);
  got.forEach((one, at) => assertSame(one, sent[at]));
});

// Publishes every payload, consumes every queue, and compares the two.
import { readFile } from "node:fs/promises";
import { api, consume, publish } from "./broker.js";
import { payloads } from "./payloads.js";
import { queues, subscriptions } from "./routing.js";
import { printTable } from "./table.js";

const TOPIC = "github";

async function deploy(name) {
  const component = await readFile(`${process.env.PLUGINS}/${name}.wasm`);
  const version = await api("PUT", `/v1/plugins/${name}/versions/1.0.0`, component, "application/wasm");
  console.log(`deployed ${name} 1.0.0 (a ${version.world}, ${component.length} bytes)`);
}

await deploy("content-router");
await deploy("field-redactor");
await api("PUT", `/v1/topics/${TOPIC}`, {});
for (const queue of Object.keys(queues)) await api("PUT", `/v1/queues/${queue}`, {});
for (const [name, subscription] of Object.entries(subscriptions)) {
  await api("PUT", `/v1/topics/${TOPIC}/subscriptions/${name}`, subscription);
}

const events = await payloads();
const results = await publish(TOPIC, events);

// What the payloads themselves say: `belongs` looks at the payload and never at the broker's answer.
const rows = [];
for (const [queue, { belongs, sees = (data) => data }] of Object.entries(queues)) {
  const expected = events.filter((event) => belongs(event.data, event));
  const received = await consume(queue);
  const wanted = expected.map((event) => [event.id, JSON.stringify(sees(event.data))]).sort();
  const got = received.map((event) => [event.id, JSON.stringify(event.data)]).sort();
  const agrees = JSON.stringify(wanted) === JSON.stringify(got);
  rows.push({ queue, expected: wanted.length, delivered: got.length, acked: received.acked, agrees });
}

const deliveries = results.reduce((sum, result) => sum + result.deliveries, 0);
const drops = new Map();
for (const { subscriptions } of results) {
  for (const { name, outcome, reason } of subscriptions.filter((one) => one.outcome !== "delivered")) {
    const key = [name, outcome, reason ?? ""].join("\t");
    drops.set(key, (drops.get(key) ?? 0) + 1);
  }
}

const ok = printTable({ published: events.length, accepted: results.length, deliveries, rows, drops });
process.exit(ok ? 0 : 1);

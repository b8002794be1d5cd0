// Every payload of @octokit/webhooks-examples (github.com and five GitHub Enterprise versions) as a CloudEvent.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const EDITIONS = ["api.github.com", "ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35"];

export async function payloads() {
  const events = [];
  for (const edition of EDITIONS) {
    for (const { name, examples } of require(`@octokit/webhooks-examples/${edition}/index.json`)) {
      examples.forEach((data, at) => events.push(cloudEvent(edition, name, at, data)));
    }
  }
  return events;
}

function cloudEvent(edition, name, at, data) {
  const event = {
    specversion: "1.0",
    id: `${edition}/${name}/${at}`,
    source: data.repository?.html_url ?? data.organization?.url ?? "https://github.com",
    type: ["com.github", name, data.action].filter(Boolean).join("."),
    datacontenttype: "application/json",
    data,
  };
  // The subscriptions route by these.
  if (data.repository) event.subject = data.repository.full_name;
  const tags = tagsOf(data);
  if (tags.length > 0) event.tags = tags.join(",");
  return event;
}

function tagsOf(data) {
  const tags = [];
  if (data.sender?.type === "Bot") tags.push("bot");
  if (data.repository?.private) tags.push("private");
  return tags;
}

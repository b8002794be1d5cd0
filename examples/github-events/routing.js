// Who gets what: the subscriptions as the broker is told, and for every queue what belongs in it, said a second time
// in JavaScript and from the payload alone, so that one can be checked against the other.

const router = (config, queues) => ({
  plugin: { name: "content-router", version: "1.0.0", config },
  to: { destinations: Object.fromEntries(queues.map((queue) => [queue, { queue }])) },
});
const prefix = (text) => ({ attributes: { type: { prefix: text } } });

export const subscriptions = {
  // By event type: the first rule that matches decides; what no rule matches is dropped.
  "by-event": router(
    {
      rules: [
        { ...prefix("com.github.pull_request"), to: ["pull-requests"] },
        { ...prefix("com.github.issue"), to: ["issues"] },
        { ...prefix("com.github.check_"), to: ["builds"] },
        { ...prefix("com.github.workflow_"), to: ["builds"] },
        { attributes: { type: ["com.github.push", "com.github.create", "com.github.delete"] }, to: ["code"] },
      ],
    },
    ["pull-requests", "issues", "builds", "code"],
  ),
  // By action, a field of the payload.
  "by-action": router(
    {
      rules: [
        { data: { "/action": ["opened", "created", "published"] }, to: ["began"] },
        { data: { "/action": ["closed", "completed", "deleted"] }, to: ["ended"] },
      ],
    },
    ["began", "ended"],
  ),
  // By repository. Every rule that matches adds its queue; events of no repository go to `accounts`.
  "by-repository": router(
    {
      mode: "all",
      rules: [
        { attributes: { subject: "Codertocat/Hello-World" }, to: ["hello-world"] },
        { attributes: { subject: { prefix: "octo-org/" } }, to: ["octo-org"] },
        { data: { "/repository/fork": true }, to: ["forks"] },
        { attributes: { subject: { exists: false } }, to: ["accounts"] },
      ],
    },
    ["hello-world", "octo-org", "forks", "accounts"],
  ),
  // A transform: every event, with nobody's e-mail address in it.
  "without-emails": {
    plugin: {
      name: "field-redactor",
      version: "1.0.0",
      config: { rules: [{ action: "mask", paths: ["/**/email"], with: "hidden" }] },
    },
    to: { queue: "analytics" },
  },
  // A filter alone, no plugin.
  bots: { filter: { tags: ["bot"] }, to: { queue: "bots" } },
};

const eventIs = (test) => (_, { id }) => test(id.split("/")[1]);
const actionIn = (...actions) => (data) => actions.includes(data.action);

export const queues = {
  "pull-requests": { belongs: eventIs((name) => name.startsWith("pull_request")) },
  issues: { belongs: eventIs((name) => name.startsWith("issue")) },
  builds: { belongs: eventIs((name) => name.startsWith("check_") || name.startsWith("workflow_")) },
  // create and delete carry no action, so their type is their whole name.
  code: { belongs: eventIs((name) => ["push", "create", "delete"].includes(name)) },
  began: { belongs: actionIn("opened", "created", "published") },
  ended: { belongs: actionIn("closed", "completed", "deleted") },
  "hello-world": { belongs: (data) => data.repository?.full_name === "Codertocat/Hello-World" },
  "octo-org": { belongs: (data) => data.repository?.full_name.startsWith("octo-org/") ?? false },
  forks: { belongs: (data) => data.repository?.fork === true },
  accounts: { belongs: (data) => !data.repository },
  analytics: { belongs: () => true, sees: withoutEmails },
  bots: { belongs: (data) => data.sender?.type === "Bot" },
};

function withoutEmails(data) {
  return JSON.parse(JSON.stringify(data), (key, value) => (key === "email" ? "hidden" : value));
}

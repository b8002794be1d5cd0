// Prints what happened, and says whether it is what should have happened.
export function printTable({ published, accepted, deliveries, rows, drops }) {
  const line = (...cells) => console.log(cells[0].padEnd(16), cells.slice(1).map((cell) => String(cell).padStart(10)).join(""));
  console.log(`\npublished ${published} events, ${accepted} accepted, ${deliveries} deliveries\n`);
  line("queue", "expected", "delivered", "acked", "agrees");
  for (const { queue, expected, delivered, acked, agrees } of rows) {
    line(queue, expected, delivered, acked, agrees && acked === delivered ? "yes" : "NO");
  }
  const sum = (column) => rows.reduce((total, row) => total + row[column], 0);
  line("sum", sum("expected"), sum("delivered"), sum("acked"), "");

  console.log("\nnot delivered, by subscription:");
  for (const [key, count] of [...drops].sort()) {
    const [name, outcome, reason] = key.split("\t");
    console.log(`${name.padEnd(16)}${String(count).padStart(6)}  ${outcome}${reason && `: ${reason}`}`);
  }

  const ok =
    published === accepted &&
    deliveries === sum("expected") &&
    rows.every(({ agrees, acked, delivered }) => agrees && acked === delivered);
  console.log(ok ? "\nEvery queue holds what the payloads say." : "\nFAILED: the broker and the payloads disagree.");
  return ok;
}

import assert from "node:assert/strict";

/** Long enough that the checks themselves do not count as work. */
const INTERVAL_MS = 200;

/** A process of its own, as this one may run other tests. Prints its resident bytes before and after it is trimmed. */
const PROGRAM = `
import { trimMemory } from ${JSON.stringify(new URL("./trim_memory.ts", import.meta.url).href)};
let before = 0;
const { promise, resolve } = Promise.withResolvers();
{
  await using _trimmer = trimMemory(() => {
    before = Deno.memoryUsage().rss; // the program's pages are dropped next; growth before that does not count
    resolve();
  }, ${INTERVAL_MS});
  await promise;
}
console.log(before, Deno.memoryUsage().rss);`;

Deno.test("an idle process returns memory to the kernel", async () => {
  const args = ["eval", "--quiet", "--ext=ts", "--no-lock", PROGRAM];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const [before = NaN, after = NaN] = new TextDecoder().decode(stdout).split(" ").map(Number);
  assert.ok(after < before, `${before} resident bytes became ${after}`);
});

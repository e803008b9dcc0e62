import assert from "node:assert/strict";

/** Long enough that the checks themselves do not count as work. */
const INTERVAL_MS = 200;

/**
 * Runs an idle program that trims its memory until it calls `done`, and returns what it prints. It is a process of its
 * own, as this one may run other tests.
 *
 * @param dropMore code that runs in every trim
 * @param end code that runs after the last one
 */
async function trimmed(dropMore: string, end: string): Promise<string> {
  const program = `
import { trimMemory } from ${JSON.stringify(new URL("./trim_memory.ts", import.meta.url).href)};
let trims = 0, before = 0;
const { promise, resolve: done } = Promise.withResolvers();
{
  await using _trimmer = trimMemory(() => {
    trims++;
    ${dropMore}
  }, ${INTERVAL_MS});
  await promise;
}
${end}`;
  const args = ["eval", "--quiet", "--ext=ts", "--no-lock", program];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("an idle process returns memory to the kernel", async () => {
  // the program's pages are dropped after what it drops itself; growth before that does not count
  const printed = await trimmed(
    "before = Deno.memoryUsage().rss; done();",
    "console.log(before, Deno.memoryUsage().rss);",
  );
  const [before = NaN, after = NaN] = printed.split(" ").map(Number);
  assert.ok(after < before, `${before} resident bytes became ${after}`);
});

Deno.test("a process whose memory cannot be trimmed goes on, and is trimmed again", async () => {
  const printed = await trimmed('if (trims === 1) throw new Error("no"); done();', "console.log(trims);");
  assert.equal(printed, "2\n");
});

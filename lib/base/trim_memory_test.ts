import assert from "node:assert/strict";
import { trimMemory } from "./trim_memory.ts";

/** Long enough that the checks themselves do not count as work. */
const INTERVAL_MS = 200;

Deno.test("an idle process returns memory to the kernel", async () => {
  let before = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  {
    await using _trimmer = trimMemory(() => {
      before = Deno.memoryUsage().rss; // the program's pages are dropped next; growth before that does not count
      resolve();
    }, INTERVAL_MS);
    await promise;
  }
  assert.ok(Deno.memoryUsage().rss < before);
});

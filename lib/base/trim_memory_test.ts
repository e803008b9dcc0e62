import assert from "node:assert/strict";
import { trimMemory } from "./trim_memory.ts";

/** Long enough for the looks themselves not to be work. */
const INTERVAL_MS = 200;

Deno.test("a process that rests gives memory back", async () => {
  let before = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  {
    await using _trimmer = trimMemory(() => {
      before = Deno.memoryUsage().rss; // the pages of the program go next; what else has come since the start does not count
      resolve();
    }, INTERVAL_MS);
    await promise;
  }
  assert.ok(Deno.memoryUsage().rss < before);
});

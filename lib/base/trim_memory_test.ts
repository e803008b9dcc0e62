import { trimMemory } from "./trim_memory.ts";

Deno.test("a process that rests gives memory back", async () => {
  const before = Deno.memoryUsage().rss;
  await using _trimmer = trimMemory(() => undefined, 1);
  while (Deno.memoryUsage().rss >= before - (1 << 20)) await new Promise((resolve) => setTimeout(resolve, 1));
});

import { deepEqual, equal, rejects } from "node:assert/strict";
import { KeyedMutex } from "./keyed_mutex.ts";

Deno.test("tasks of one key run sequentially, in order of arrival", async () => {
  const mutex = new KeyedMutex<string>();
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = mutex.run("a", async () => {
    await gate.promise;
    seen.push("first");
  });
  const second = mutex.run("a", () => Promise.resolve(seen.push("second")));
  const other = mutex.run("b", () => Promise.resolve(seen.push("other key")));
  await other;
  gate.resolve();
  await Promise.all([first, second]);
  deepEqual(seen, ["other key", "first", "second"]);
  equal(mutex.size, 0);
});

Deno.test("a failed task releases the key for the next one", async () => {
  const mutex = new KeyedMutex<string>();
  const failed = mutex.run("a", () => Promise.reject(new Error("no")));
  const next = mutex.run("a", () => Promise.resolve(7));
  await rejects(failed, /no/);
  equal(await next, 7);
});

/** A mutex whose key "a" is held by one task while another waits for it. */
function heldMutex() {
  const mutex = new KeyedMutex<string>();
  const gate = Promise.withResolvers<void>();
  let held = true;
  const holder = mutex.run("a", async () => {
    await gate.promise;
    held = false;
  });
  const abort = new AbortController();
  const waiter = mutex.run("a", () => Promise.resolve("never"), abort.signal);
  return {
    mutex,
    /** Queues a task that says whether the key is still held. */
    queue: () => mutex.run("a", () => Promise.resolve(held)),
    /** Aborts the waiter. */
    giveUp: async () => {
      abort.abort(new Error("gave up"));
      await rejects(waiter, /caller cancelled/);
    },
    /** Ends the holder. */
    release: async () => {
      gate.resolve();
      await holder;
    },
  };
}

Deno.test("an aborted waiter leaves the queue and does not let the next one overtake the holder", async () => {
  const { mutex, queue, giveUp, release } = heldMutex();
  const third = queue();
  await giveUp();
  await release();
  equal(await third, false);
  equal(mutex.size, 0);
});

Deno.test("an aborted waiter that was the last does not let a later one overtake the holder", async () => {
  const { mutex, queue, giveUp, release } = heldMutex();
  await giveUp();
  const late = queue();
  await release();
  equal(await late, false);
  equal(mutex.size, 0);
});

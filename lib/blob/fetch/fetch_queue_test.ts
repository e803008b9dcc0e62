import assert from "node:assert/strict";
import { turn } from "../../../tests/support/until.ts";
import { hasCode } from "../../base/errors.ts";
import { FetchQueue, type FetchQueueOptions } from "./fetch_queue.ts";

/** Tasks that record when they start, and end when told to. */
class Tasks {
  readonly started: string[] = [];
  readonly #ends = new Map<string, () => void>();

  task(name: string): () => Promise<void> {
    return () => {
      this.started.push(name);
      return new Promise((resolve) => this.#ends.set(name, resolve));
    };
  }

  end(name: string): void {
    this.#ends.get(name)?.();
  }
}

function queueOf(limit: number, prefetchLimit: number, options: Partial<FetchQueueOptions> = {}): FetchQueue {
  const rest = { readAheadLimit: limit, prefetchRate: () => undefined, quietMs: 0 };
  return new FetchQueue({ limit, prefetchLimit: () => prefetchLimit, ...rest, ...options });
}

/** Waits a few turns of the event loop: the queue starts tasks at the end of a turn. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn();
}

Deno.test("on-demand tasks run first, prefetches only when none runs or waits", async () => {
  const queue = queueOf(2, 2);
  const tasks = new Tasks();
  const done = [
    queue.run("prefetch", tasks.task("p1")),
    queue.run("prefetch", tasks.task("p2")),
    ...["d1", "d2", "d3"].map((name) => queue.run("on-demand", tasks.task(name))),
  ];
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2"]);
  tasks.end("d1");
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2", "d3"]);
  tasks.end("d2");
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2", "d3"], "a slot is free, but an on-demand task runs");
  tasks.end("d3");
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2", "d3", "p1", "p2"]);
  tasks.end("p1");
  tasks.end("p2");
  await Promise.all(done);
  queue.close();
});

Deno.test("prefetches leave slots for on-demand tasks", async () => {
  const queue = queueOf(3, 1);
  const tasks = new Tasks();
  const done = ["p1", "p2"].map((name) => queue.run("prefetch", tasks.task(name)));
  await turns();
  assert.deepEqual(tasks.started, ["p1"]);
  done.push(queue.run("on-demand", tasks.task("d1")), queue.run("on-demand", tasks.task("d2")));
  await turns();
  assert.deepEqual(tasks.started, ["p1", "d1", "d2"]);
  for (const name of ["d1", "d2", "p1"]) tasks.end(name);
  await turns();
  tasks.end("p2");
  await Promise.all(done);
  queue.close();
});

Deno.test("a failed task releases its slot and reports to its caller", async () => {
  const queue = queueOf(1, 1);
  const failing = queue.run("on-demand", () => Promise.reject(new Error("no")));
  const next = queue.run("on-demand", () => Promise.resolve(1));
  await assert.rejects(failing, /no/);
  assert.equal(await next, 1);
  queue.close();
});

Deno.test("read-ahead tasks start beside on-demand tasks, in slots of their own", async () => {
  const queue = queueOf(4, 1, { readAheadLimit: 2 });
  const tasks = new Tasks();
  const done = [
    queue.run("prefetch", tasks.task("p1")),
    ...["a1", "a2", "a3"].map((name) => queue.run("read-ahead", tasks.task(name))),
    ...["d1", "d2"].map((name) => queue.run("on-demand", tasks.task(name))),
  ];
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2", "a1", "a2"]);
  for (const name of ["d1", "d2", "a1"]) tasks.end(name);
  await turns();
  assert.deepEqual(tasks.started.slice(4), ["a3"], "prefetches wait for read-ahead as well");
  for (const name of ["a2", "a3"]) tasks.end(name);
  await turns();
  assert.deepEqual(tasks.started.slice(5), ["p1"]);
  tasks.end("p1");
  await Promise.all(done);
  queue.close();
});

Deno.test("a running prefetch is notified when an on-demand task arrives", async () => {
  const queue = queueOf(4, 2);
  const notified: string[] = [];
  const ends = Promise.withResolvers<void>();
  const prefetch = (name: string) =>
    queue.run("prefetch", (overtaken) => {
      overtaken.addEventListener("abort", () => notified.push(name));
      return ends.promise;
    });
  const first = prefetch("first");
  await turns();
  await queue.run("read-ahead", () => Promise.resolve());
  assert.deepEqual(notified, []);
  await queue.run("on-demand", () => Promise.resolve());
  assert.deepEqual(notified, ["first"]);
  const second = prefetch("second");
  await turns();
  assert.deepEqual(notified, ["first"], "a later prefetch is not notified of earlier tasks");
  ends.resolve();
  await Promise.all([first, second]);
  queue.close();
});

Deno.test("prefetches above their rate wait, on-demand tasks do not", async () => {
  const queue = queueOf(4, 2, { prefetchRate: () => 1 });
  const tasks = new Tasks();
  queue.charge(1e9);
  queue.run("prefetch", tasks.task("p1"));
  const demand = queue.run("on-demand", tasks.task("d1"));
  await turns();
  assert.deepEqual(tasks.started, ["d1"]);
  tasks.end("d1");
  await demand;
  queue.close();
});

Deno.test("the queue is quiet when no on-demand task has run or waited for a while", async () => {
  const queue = queueOf(1, 1);
  const { signal } = new AbortController();
  await queue.whenQuiet(1e9, signal); // there was none yet
  const tasks = new Tasks();
  const demand = queue.run("on-demand", tasks.task("d1"));
  await turns();
  let quiet = false;
  const waiting = queue.whenQuiet(1, signal).then(() => quiet = true);
  await turns();
  assert.equal(quiet, false);
  tasks.end("d1");
  await demand;
  await waiting;
  const stop = new AbortController();
  const never = queue.whenQuiet(1e9, stop.signal);
  stop.abort();
  await assert.rejects(never, (error) => hasCode(error, "interrupted"));
  queue.close();
});

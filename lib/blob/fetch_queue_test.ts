import assert from "node:assert/strict";
import { FetchQueue } from "./fetch_queue.ts";

/** A task that notes when it starts, and ends when told. */
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

/** A few turns of the event loop: the queue starts tasks at the end of one. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("on-demand tasks go first, and prefetch waits until none runs or waits", async () => {
  const queue = new FetchQueue({ limit: 2, prefetchLimit: 2, quietMs: 0 });
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
  assert.deepEqual(tasks.started, ["d1", "d2", "d3"], "a place is free, but an on-demand task runs");
  tasks.end("d3");
  await turns();
  assert.deepEqual(tasks.started, ["d1", "d2", "d3", "p1", "p2"]);
  tasks.end("p1");
  tasks.end("p2");
  await Promise.all(done);
  queue.close();
});

Deno.test("prefetch leaves places for readers that come", async () => {
  const queue = new FetchQueue({ limit: 3, prefetchLimit: 1, quietMs: 0 });
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

Deno.test("a task that fails frees its place and tells its caller", async () => {
  const queue = new FetchQueue({ limit: 1, prefetchLimit: 1, quietMs: 0 });
  const failing = queue.run("on-demand", () => Promise.reject(new Error("no")));
  const next = queue.run("on-demand", () => Promise.resolve(1));
  await assert.rejects(failing, /no/);
  assert.equal(await next, 1);
  queue.close();
});

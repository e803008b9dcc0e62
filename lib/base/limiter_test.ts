import assert from "node:assert/strict";
import { Limiter, type Priority } from "./limiter.ts";
import { turn } from "../../tests/support/until.ts";

/** Tasks of a limiter that run until they are told to end. */
class Tasks {
  /** Names of those that have started, in order. */
  readonly started: string[] = [];
  readonly #ends = new Map<string, (error?: Error) => void>();

  constructor(private readonly limiter: Limiter) {}

  run(name: string, priority: Priority, signal?: AbortSignal): Promise<void> {
    return this.limiter.run(priority, () => {
      this.started.push(name);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#ends.set(name, (error) => error === undefined ? resolve() : reject(error));
      return promise;
    }, signal);
  }

  /** Ends a task, and lets the next one start. */
  async end(name: string, error?: Error): Promise<void> {
    this.#ends.get(name)?.(error);
    await turn();
  }
}

Deno.test("as many tasks run as the limit allows, and the next starts when one ends, however it ends", async () => {
  const tasks = new Tasks(new Limiter(2));
  const runs = ["a", "b", "c", "d"].map((name) => tasks.run(name, "on-demand"));
  await turn();
  assert.deepEqual(tasks.started, ["a", "b"]);
  const failed = assert.rejects(runs[1] as Promise<void>, /broken/);
  await tasks.end("b", new Error("broken"));
  await failed;
  assert.deepEqual(tasks.started, ["a", "b", "c"]);
  for (const name of ["a", "c"]) await tasks.end(name);
  assert.deepEqual(tasks.started, ["a", "b", "c", "d"]);
  await tasks.end("d");
  await Promise.allSettled(runs);
  const later = ["e", "f", "g"].map((name) => tasks.run(name, "on-demand"));
  await turn();
  assert.deepEqual(tasks.started.slice(4), ["e", "f"]);
  for (const name of ["e", "f", "g"]) await tasks.end(name);
  await Promise.all(later);
});

Deno.test("on-demand tasks start before a prefetch that waits, each kind in order of arrival", async () => {
  const tasks = new Tasks(new Limiter(1));
  const order = [["first", "prefetch"], ["p", "prefetch"], ["q", "prefetch"], ["a", "on-demand"], ["b", "on-demand"]];
  const runs = order.map(([name, priority]) => tasks.run(name as string, priority as Priority));
  for (const name of ["first", "a", "b", "p", "q"]) {
    await turn();
    assert.equal(tasks.started.at(-1), name);
    await tasks.end(name);
  }
  await Promise.all(runs);
});

Deno.test("a task that is aborted while it waits never starts, and takes no slot", async () => {
  const tasks = new Tasks(new Limiter(1));
  const stop = new AbortController();
  const running = tasks.run("a", "on-demand");
  const aborted = assert.rejects(tasks.run("b", "on-demand", stop.signal), /given up/);
  const next = tasks.run("c", "on-demand");
  stop.abort(new Error("given up"));
  await aborted;
  await tasks.end("a");
  assert.deepEqual(tasks.started, ["a", "c"]);
  await tasks.end("c");
  await Promise.all([running, next]);
  await assert.rejects(tasks.run("d", "on-demand", stop.signal), /given up/);
  assert.deepEqual(tasks.started, ["a", "c"]);
});

Deno.test("a limit below one task is refused", () => {
  for (const limit of [0, -1, 1.5]) assert.throws(() => new Limiter(limit), RangeError);
});

import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { until } from "../../tests/support/until.ts";
import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import { NydusGdError } from "./errors.ts";
import { receiveError, sendError, WorkerPool } from "./worker_pool.ts";

/** A Worker that counts the messages of each channel and dies on "die". */
const COUNTER = new URL(
  "data:application/javascript," + encodeURIComponent(`
    const counts = new Map();
    self.onmessage = ({ data: { channel, message } }) => {
      if (message === "die") throw new Error("on request");
      counts.set(channel, (counts.get(channel) ?? 0) + 1);
      self.postMessage({ channel, message: message + counts.get(channel) });
    };
  `),
);

function ask(pool: WorkerPool<string, string>, messages: string[]): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  const answers: string[] = [];
  const channel = pool.open({
    onMessage: (answer) => {
      if (answers.push(answer) === messages.length) {
        channel.close();
        resolve(answers);
      }
    },
    onDeath: reject,
  });
  for (const message of messages) channel.post(message);
  return promise;
}

Deno.test("channels that share a Worker do not receive each other's messages", async () => {
  using pool = new WorkerPool<string, string>(COUNTER, 1);
  const answers = await Promise.all([ask(pool, ["a", "a"]), ask(pool, ["b", "b", "b"])]);
  deepEqual(answers, [["a1", "a2"], ["b1", "b2", "b3"]]);
});

Deno.test("when a Worker dies its channels fail and it is replaced", async () => {
  using pool = new WorkerPool<string, string>(COUNTER, 1);
  await rejects(ask(pool, ["die"]), (error) => error instanceof NydusGdError && error.code === "internal");
  deepEqual(await ask(pool, ["a"]), ["a1"]);
});

Deno.test("a Worker without channels is ended, and started again when needed", async () => {
  using pool = new WorkerPool<string, string>(COUNTER, 2, 0);
  deepEqual(await Promise.all([ask(pool, ["a"]), ask(pool, ["b"])]), [["a1"], ["b1"]]);
  await until("the Workers end", () => pool.workers === 0);
  deepEqual(await ask(pool, ["c"]), ["c1"]);
});

Deno.test("a disposed pool accepts no work", () => {
  const pool = new WorkerPool<string, string>(COUNTER, 1);
  pool[Symbol.dispose]();
  throws(() => pool.open({ onMessage: () => {}, onDeath: () => {} }), /stopping/);
});

Deno.test("errors keep code, message and hint across the Worker boundary", () => {
  const error = receiveError(sendError(new NydusGdError("busy", "Cannot x: y", { hint: "z" })));
  deepEqual([error.code, error.message, error.hint], ["busy", "Cannot x: y", "z"]);
  equal(sendError(new SyscallError("open", ERRNO.ENOSPC, "/x")).code, "io");
  equal(sendError(new Error("x")).code, "internal");
  match(receiveError(sendError("text")).message, /text/);
});

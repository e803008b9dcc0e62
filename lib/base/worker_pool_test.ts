import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { until } from "../../tests/support/until.ts";
import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import { NydusGdError } from "./errors.ts";
import { type Channel, receiveError, sendError, WorkerPool } from "./worker_pool.ts";

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

Deno.test("no more than `size` Workers are started, and a channel goes to the one with the fewest", async () => {
  /** Answers every message with the id that the Worker drew when it started. */
  const identified = new URL(
    "data:application/javascript," + encodeURIComponent(`
      const id = crypto.randomUUID();
      self.onmessage = ({ data: { channel } }) => self.postMessage({ channel, message: id });
    `),
  );
  using pool = new WorkerPool<string, string>(identified, 2);
  const open = async (): Promise<{ id: string; channel: Channel<string> }> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const channel = pool.open({ onMessage: resolve, onDeath: reject });
    channel.post("");
    return { id: await promise, channel };
  };
  const a = await open(), b = await open();
  equal(a.id === b.id, false, "the second channel shared the Worker of the first");
  const others = [await open(), await open()];
  deepEqual([pool.workers, others.map(({ id }) => id).sort()], [2, [a.id, b.id].sort()]);
  const [ofB] = others.filter(({ id }) => id === b.id);
  ofB?.channel.close();
  equal((await open()).id, b.id, "with 2 channels on one Worker and 1 on the other");
  for (const { id, channel } of [a, ...others]) if (id === a.id) channel.close();
  deepEqual([(await open()).id, (await open()).id], [a.id, a.id], "with 0 channels on one Worker and 2 on the other");
  equal(pool.workers, 2);
});

Deno.test("a Worker ends only when its last channel closes, and is not ended if one is opened meanwhile", async () => {
  using pool = new WorkerPool<string, string>(COUNTER, 1, 0);
  const { promise: died, resolve: onDeath } = Promise.withResolvers<Error>();
  const open = () => pool.open({ onMessage: () => {}, onDeath });
  const a = open(), b = open();
  a.close();
  a.close();
  const timersRan = () => new Promise((resolve) => setTimeout(resolve, 0));
  await timersRan();
  equal(pool.workers, 1, "a channel was still open");
  b.close();
  open();
  await timersRan();
  equal(pool.workers, 1, "a channel was opened before the timer ran");
  pool[Symbol.dispose]();
  match((await died).message, /the program is stopping/);
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

Deno.test("a Worker serves each channel by itself, from its first message until it is done", async () => {
  const served = new URL(
    "data:application/javascript," + encodeURIComponent(`
      import { serveChannels } from ${JSON.stringify(new URL("./worker_pool.ts", import.meta.url).href)};
      serveChannels((reply, done) => {
        const seen = [];
        return {
          onMessage: (message) => {
            seen.push(message);
            if (message === "done") done();
            reply(seen.join());
          },
        };
      });
    `),
  );
  using pool = new WorkerPool<string, string>(served, 1);
  const talks = await Promise.all([ask(pool, ["a", "b", "done", "c"]), ask(pool, ["d", "e"])]);
  deepEqual(talks, [["a", "a,b", "a,b,done", "c"], ["d", "d,e"]]);
});

Deno.test("errors keep code, message and hint across the Worker boundary", () => {
  const error = receiveError(sendError(new NydusGdError("busy", "Cannot x: y", { hint: "z" })));
  deepEqual([error.code, error.message, error.hint], ["busy", "Cannot x: y", "z"]);
  equal(sendError(new SyscallError("open", ERRNO.ENOSPC, "/x")).code, "io");
  equal(sendError(new Error("x")).code, "internal");
  match(receiveError(sendError("text")).message, /text/);
});

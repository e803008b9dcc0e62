import assert from "node:assert/strict";
import { NeededServer } from "./needed_server.ts";

Deno.test("a server is started once for all who need it at the same time, and again after its end", async () => {
  let starts = 0;
  const running: number[] = [];
  const server = new NeededServer(() => Promise.resolve(++starts), (one) => running.push(one));
  assert.equal(server.running, undefined);
  assert.deepEqual(await Promise.all([server.need(), server.need()]), [1, 1]);
  assert.equal(server.running, 1);
  server.forget();
  assert.equal(server.running, undefined);
  assert.equal(await server.need(), 2);
  assert.deepEqual(running, [1, 2]);
});

Deno.test("a server that was taken over is not started", async () => {
  const server = new NeededServer<string>(() => assert.fail("it was started"));
  server.adopt("taken over");
  assert.equal(await server.need(), "taken over");
});

Deno.test("a server that could not be started is tried again by the next one who needs it", async () => {
  let starts = 0;
  const server = new NeededServer(() =>
    ++starts === 1 ? Promise.reject(new Error("not yet")) : Promise.resolve(starts)
  );
  await assert.rejects(server.need(), /not yet/);
  assert.equal(await server.need(), 2);
});

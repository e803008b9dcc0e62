import { equal } from "node:assert/strict";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { KeptServer, type Listening } from "./keep_serving.ts";

interface Endpoint extends Listening {
  readonly port: number;
}

/** Starts a server on `port`. */
function listenOn(port: number): Endpoint {
  const abort = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port, signal: abort.signal, onListen: () => {} },
    () => new Response("here"),
  );
  return { server, abort, port: server.addr.port };
}

Deno.test("a server that ends is restarted until released, also if it cannot listen at once", async () => {
  await using _quiet = await quietLogs();
  const first = listenOn(0);
  const again = Promise.withResolvers<Endpoint>();
  let attempts = 0;
  const kept = new KeptServer(first, () => {
    if (++attempts === 1) return Promise.reject(new Deno.errors.AddrInUse("not yet"));
    again.resolve(listenOn(first.port));
    return again.promise;
  }, "test");
  first.abort.abort();
  const { port } = await again.promise;
  equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "here");
  kept.release()?.abort.abort();
  await kept.finished;
  equal(attempts, 2);
});

import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { HttpClient } from "./http_client.ts";
import { DEFAULT_FETCH_OPTIONS } from "./fetch_options.ts";

/** More than the buffers of both ends of a connection hold. */
const BODY_BYTES = 40 << 20;

/** Reads a request at up to 13 MB/s; returns the number of bytes. */
async function readSlowly(request: IncomingMessage): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let bytes = 0;
  const timer = setInterval(() => bytes += request.read()?.length ?? 0, 5);
  request.once("end", resolve);
  await promise;
  clearInterval(timer);
  return bytes;
}

Deno.test("a body in memory may take longer than the read timeout, as long as the server takes parts of it", async () => {
  const received = Promise.withResolvers<number>();
  const server = createServer(async (request, response) => {
    const bytes = await readSlowly(request);
    response.end();
    received.resolve(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, readTimeoutMs: 1_500 });
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const request = { method: "PUT", url, body: new Uint8Array(BODY_BYTES) } as const;
    await http.exchange(request, { priority: "on-demand" }, (response) => response.discard());
    assert.equal(await received.promise, BODY_BYTES);
  } finally {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});

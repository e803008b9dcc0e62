import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { HttpClient } from "./http_client.ts";
import { DEFAULT_FETCH_OPTIONS } from "./fetch_options.ts";

/** More than the buffers of both ends of a connection hold. */
const BODY_BYTES = 40 << 20;

/** Less than these buffers hold: all is written at once. */
const SMALL_BODY_BYTES = 1 << 20;

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

/** Reads a request of `bytes` at up to 640 kB/s, and answers it unless it is to stay silent. */
async function takeSlowly(connection: Deno.Conn, bytes: number, answers: boolean): Promise<void> {
  const buffer = new Uint8Array(32 << 10);
  for (let taken = 0; taken < bytes;) {
    await delay(50);
    const count = await connection.read(buffer);
    if (count === null) return;
    taken += count;
  }
  if (answers) await connection.write(new TextEncoder().encode("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"));
}

/** Sends a small body to a server that takes it slowly. */
async function sendSlowly(answers: boolean): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const served = accepted.then((connection) => takeSlowly(connection, SMALL_BODY_BYTES, answers));
  try {
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, readTimeoutMs: 500 });
    const url = new URL(`http://127.0.0.1:${listener.addr.port}/`);
    const request = { method: "PUT", url, body: new Uint8Array(SMALL_BODY_BYTES) } as const;
    await http.exchange(request, { priority: "on-demand" }, (response) => response.discard());
  } finally {
    await served;
    (await accepted).close();
  }
}

Deno.test("a body that the kernel still sends is not silence of the server", () => sendSlowly(true));

Deno.test("a server that has taken a body and does not answer is given up", () =>
  assert.rejects(sendSlowly(false), /read from .* timed out after 6\d\d ms/));

Deno.test("a server may take the longer for its answer the more it has to store", async () => {
  const server = createServer(async (request, response) => {
    await readSlowly(request);
    await delay(1_500);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, readTimeoutMs: 1_000 });
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const request = { method: "PUT", url, body: new Uint8Array(BODY_BYTES) } as const;
    await http.exchange(request, { priority: "on-demand" }, (response) => response.discard());
  } finally {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});

/**
 * Placed reads, on a plain socket and in whole exchanges.
 *
 * @module
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { TLS } from "../../../tests/support/backend/tls_fixture.ts";
import { DEFAULT_FETCH_OPTIONS } from "./fetch_options.ts";
import { HttpClient } from "./http_client.ts";
import { placed, placeReads } from "./placed_socket.ts";

/** A server on a free loopback port that passes each connection to `serve`. */
async function listen(
  serve: (socket: Socket) => void,
  isSecure = false,
): Promise<AsyncDisposable & { readonly port: number }> {
  const accept = (socket: Socket) => {
    socket.on("error", () => {}); // the peer may close early
    serve(socket);
  };
  const server = isSecure ? createTlsServer({ cert: TLS.certificate, key: TLS.key }, accept) : createServer(accept);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

Deno.test("bytes are received into the given memory, also shared, or else into new memory", async () => {
  await using server = await listen((socket) => {
    socket.write("first");
    socket.on("data", (asked) => socket.end(asked));
  });
  const place = new Uint8Array(new SharedArrayBuffer(64));
  const socket = placed((onread) => connect({ host: "127.0.0.1", port: server.port, onread }));
  const seen: Uint8Array[] = [];
  socket.on("data", (bytes: Uint8Array) => {
    seen.push(bytes);
    if (seen.length === 1) {
      placeReads(socket, () => place.subarray(10));
      socket.write("again");
    }
  });
  await once(socket, "end");
  assert.deepEqual(seen.map((bytes) => new TextDecoder().decode(bytes.slice())), ["first", "again"]);
  assert.notEqual(seen[0]?.buffer, place.buffer);
  assert.equal(seen[1]?.buffer, place.buffer);
  assert.equal(seen[1]?.byteOffset, 10);
});

/** Returns bytes that differ from their neighbours and from those of another `seed`. */
function patterned(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + seed) & 0xff);
}

/** A response in pieces that split its head, its framing and its body. */
function* piecesOf(body: Uint8Array, isChunked: boolean): Generator<Uint8Array> {
  const text = (value: string) => new TextEncoder().encode(value);
  const framing = isChunked ? "transfer-encoding: chunked" : `content-length: ${body.length}`;
  yield text(`HTTP/1.1 200 OK\r\n${framing.slice(0, 9)}`);
  yield text(`${framing.slice(9)}\r\n\r\n`);
  for (let at = 0, size = 1000; at < body.length; at += size, size = size * 2 + 13) {
    const part = body.subarray(at, at + size);
    if (isChunked) yield text(`${part.length.toString(16)}\r\n`);
    yield part;
    if (isChunked) yield text("\r\n");
  }
  if (isChunked) yield text("0\r\n\r\n");
}

for (const scheme of ["http", "https"]) {
  Deno.test(`${scheme}: a response is complete in its memory, which is not written afterwards`, () =>
    takeAnswers(scheme === "https"));
}

async function takeAnswers(isSecure: boolean): Promise<void> {
  const lengths = [700_000, 3_000_000, 12, 700_000];
  const bodies = lengths.map((length, i) => patterned(length, i));
  const connections: Socket[] = [];
  let asked = 0;
  await using server = await listen((socket) => {
    connections.push(socket);
    socket.on("data", async () => {
      const at = asked++;
      for (const piece of piecesOf(bodies[at] as Uint8Array, at % 2 === 1)) {
        await new Promise<void>((resolve) => socket.write(piece, () => setTimeout(resolve, 0)));
      }
    });
  }, isSecure);
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const request = {
    method: "GET",
    url: new URL(`http${isSecure ? "s" : ""}://127.0.0.1:${server.port}/`),
    headers: {},
  } as const;
  const memories: Uint8Array<SharedArrayBuffer>[] = [];
  for (const body of bodies) {
    const memory = new Uint8Array(new SharedArrayBuffer(body.length));
    const answer = await http.exchange(
      request,
      { priority: "on-demand", tls: { skipVerify: false, caCertificates: [TLS.certificate] } },
      (response) => response.exact(body.length, { memory: () => memory }),
    );
    assert.equal(answer, memory);
    assert.ok(answer.every((byte, i) => byte === body[i]));
    memories.push(memory.fill(1));
  }
  assert.equal(connections.length, 1);
  // unexpected data ends an idle connection
  const closed = new Promise((resolve) => connections[0]?.once("close", resolve));
  connections[0]?.write(patterned(100_000, 9));
  await closed;
  for (const memory of memories) assert.ok(memory.every((byte) => byte === 1));
}

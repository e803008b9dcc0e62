import assert, { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { concatenate } from "../../base/bytes.ts";
import { PieceReader } from "./piece_reader.ts";

/** The chunks as a byte stream or as an ordinary one. */
function streamOf(chunks: readonly Uint8Array[], type: "bytes" | undefined): ReadableStream<Uint8Array> {
  const rest = chunks.map((chunk) => chunk.slice());
  const pull = (controller: { enqueue(chunk: Uint8Array<ArrayBuffer>): void; close(): void }) => {
    const next = rest.shift();
    if (next !== undefined) controller.enqueue(next);
    else controller.close();
  };
  if (type === undefined) return new ReadableStream<Uint8Array>({ pull });
  return new ReadableStream({
    type,
    pull: (controller) => {
      pull(controller);
      if (rest.length === 0) controller.byobRequest?.respond(0);
    },
  });
}

Deno.test("all pieces but the last are as full as may be, and together they are the body, whatever its chunks", async () => {
  const chunk = fc.uint8Array({ minLength: 1, maxLength: 40 });
  const kind = fc.constantFrom("bytes" as const, undefined);
  await fc.assert(
    fc.asyncProperty(fc.array(chunk), fc.integer({ min: 1, max: 64 }), kind, async (chunks, size, type) => {
      using reader = new PieceReader(streamOf(chunks, type));
      const pieces: Uint8Array[] = [];
      for (let buffer = new ArrayBuffer(size);;) {
        const piece = await reader.next(buffer);
        if (piece === undefined) break;
        pieces.push(piece.slice());
        buffer = piece.buffer;
      }
      deepEqual(concatenate(pieces), concatenate(chunks));
      for (const piece of type === "bytes" ? [] : pieces.slice(0, -1)) equal(piece.length, size);
      equal(await reader.next(new ArrayBuffer(size)), undefined);
    }),
  );
});

/** Sends a request whose body has chunks of these sizes; returns the response. */
async function post(port: number, chunkSizes: readonly number[]): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const text = (line: string) => new TextEncoder().encode(line);
  await new Blob([
    text("POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ...chunkSizes.flatMap((size) => [text(`${size.toString(16)}\r\n`), new Uint8Array(size), text("\r\n")]),
    text("0\r\n\r\n"),
  ]).stream().pipeTo(connection.writable, { preventClose: true });
  return await new Response(connection.readable).text();
}

Deno.test("a request is read to its end wherever its chunks are in a piece", async () => {
  const pieceBytes = 64 << 10;
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async ({ body }) => {
    assert(body !== null);
    using reader = new PieceReader(body);
    let bytes = 0;
    for (let buffer = new ArrayBuffer(pieceBytes);;) {
      const piece = await reader.next(buffer);
      if (piece === undefined) break;
      if (bytes === 0) ok(piece.length > pieceBytes / 2, `the first piece has ${piece.length} bytes`);
      bytes += piece.length;
      buffer = piece.buffer;
    }
    return new Response(`${bytes} bytes`);
  });
  for (const left of [1, 2, 3, 4, 5, 6, 7, 8, 4095, 4096, 4097]) {
    match(await post(server.addr.port, [pieceBytes - left, left, pieceBytes, 9]), /\r\n131081 bytes$/);
  }
});

Deno.test("cancelling ends a waiting read", async () => {
  const silent = new ReadableStream<Uint8Array>({ pull: () => new Promise<void>(() => {}) });
  using reader = new PieceReader(silent);
  const next = reader.next(new ArrayBuffer(8));
  reader.cancel(new Error("over"));
  equal(await next, undefined);
});

Deno.test("an error of the body is an error of the piece", async () => {
  const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("reset")) });
  using reader = new PieceReader(broken);
  await rejects(reader.next(new ArrayBuffer(8)), /reset/);
});

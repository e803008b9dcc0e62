import { deepEqual, equal, rejects } from "node:assert/strict";
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

Deno.test("all pieces but the last are full, and together they are the body, whatever its chunks", async () => {
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
      for (const piece of pieces.slice(0, -1)) equal(piece.length, size);
      equal(await reader.next(new ArrayBuffer(size)), undefined);
    }),
  );
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

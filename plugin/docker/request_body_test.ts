import { deepEqual, equal, rejects } from "node:assert/strict";
import { hasCode } from "../../lib/base/errors.ts";
import { drain, readBody } from "./request_body.ts";

/** A stream of these pieces, and what became of it. */
function streamOf(pieces: readonly number[][], then: "ends" | "hangs" | "fails") {
  const fate = { left: pieces.length, cancelled: undefined as unknown };
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const piece = pieces[at++];
      fate.left = Math.max(0, pieces.length - at);
      if (piece !== undefined) return controller.enqueue(Uint8Array.from(piece));
      if (then === "ends") return controller.close();
      if (then === "fails") return controller.error(new Error("connection lost"));
      return new Promise(() => {});
    },
    cancel: (reason) => {
      fate.cancelled = reason;
    },
  }, { highWaterMark: 0 });
  return { body, fate };
}

Deno.test("a body is read whole, up to the limit", async () => {
  deepEqual(await readBody(null, 0), new Uint8Array());
  deepEqual(await readBody(streamOf([[1, 2], [], [3]], "ends").body, 3), Uint8Array.of(1, 2, 3));
  const { body, fate } = streamOf([[1, 2], [3], [4]], "hangs");
  await rejects(readBody(body, 2), (error) => hasCode(error, "usage"));
  equal(fate.left, 1, "it was read beyond the limit");
});

Deno.test("the rest of a body is read to its end or until the connection is lost, unless another reads it", async () => {
  for (const end of ["ends", "fails"] as const) {
    const { body, fate } = streamOf([[1], [2], [3]], end);
    await drain(body, 3600_000);
    deepEqual([fate.left, body.locked], [0, false], end);
  }
  const { body, fate } = streamOf([[1], [2]], "hangs");
  const reader = body.getReader();
  await drain(body, 3600_000);
  equal(fate.left, 2, "it was read while another had it");
  deepEqual((await reader.read()).value, Uint8Array.of(1));
});

Deno.test("a client that sends no end is waited for as long as it is worth", async () => {
  const { body, fate } = streamOf([[1]], "hangs");
  await drain(body, 1);
  deepEqual([fate.cancelled, fate.left, body.locked], ["timeout", 0, false]);
});

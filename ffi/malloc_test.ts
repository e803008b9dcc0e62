import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { mallocTrim } from "./malloc.ts";

const libc = loadLibc({
  malloc: { parameters: ["usize"], result: "pointer" }, // void *malloc(size_t size)
  free: { parameters: ["pointer"], result: "void" }, // void free(void *ptr)
  memset: { parameters: ["pointer", "i32", "usize"], result: "pointer" }, // void *memset(void *s, int c, size_t n)
});

/** Below the size from which the allocator maps each block separately. */
const PIECE_BYTES = 64 * 1024;
const PIECES = 1024;

function residentBytes(): number {
  return Deno.memoryUsage().rss;
}

Deno.test("free memory below memory in use is returned to the kernel", async () => {
  const pieces = Array.from({ length: PIECES }, () => libc().malloc(BigInt(PIECE_BYTES)));
  for (const piece of pieces) libc().memset(piece, 1, BigInt(PIECE_BYTES));
  const last = pieces.pop() ?? null;
  for (const piece of pieces) libc().free(piece);
  const before = residentBytes();
  assert.equal(await mallocTrim(0), true);
  const givenBack = before - residentBytes();
  libc().free(last);
  assert.ok(givenBack > PIECES * PIECE_BYTES / 2, `${givenBack} bytes`);
});

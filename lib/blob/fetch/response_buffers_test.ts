/**
 * Ownership and reuse of response buffers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { until } from "../../../tests/support/until.ts";
import { ResponseBuffers } from "./response_buffers.ts";

const PIECE = 1024 * 1024;

Deno.test("a buffer is reused for the next response once its borrower has returned it", () => {
  using memory = new ResponseBuffers(PIECE, 60_000);
  const first = memory.borrow(), second = memory.borrow();
  const one = first.take(PIECE), other = second.take(PIECE / 2);
  assert.notEqual(one.buffer, other.buffer);
  assert.notEqual(first.take(PIECE).buffer, one.buffer); // a retry; readers of the first response may continue
  first[Symbol.dispose]();
  assert.equal(memory.free, 2);
  using third = memory.borrow();
  const again = third.take(PIECE - 1);
  assert.equal(again.length, PIECE - 1);
  assert.notEqual(again.buffer, other.buffer);
  assert.equal(memory.free, 1);
  second[Symbol.dispose]();
});

Deno.test("short, oversized and late requests get memory of their own", () => {
  using memory = new ResponseBuffers(PIECE, 60_000);
  const borrowed = memory.borrow();
  for (const bytes of [0, 1000, PIECE + 1]) assert.equal(borrowed.take(bytes).buffer.byteLength, bytes);
  borrowed[Symbol.dispose]();
  assert.equal(borrowed.take(PIECE).length, PIECE);
  borrowed[Symbol.dispose]();
  assert.equal(memory.free, 0);
});

Deno.test("a few buffers are kept, and freed when unused", async () => {
  using memory = new ResponseBuffers(PIECE, 1);
  const borrowed = memory.borrow();
  for (let i = 0; i < 6; i++) borrowed.take(PIECE);
  borrowed[Symbol.dispose]();
  assert.equal(memory.free, 4);
  await until("no buffer is kept", () => memory.free === 0);
});

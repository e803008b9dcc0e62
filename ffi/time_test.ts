import { deepEqual, ok } from "node:assert/strict";
import { decodeTimeSpec, realTime } from "./time.ts";

Deno.test("the wall clock agrees with the runtime's, and is not earlier than what was seen before", () => {
  const before = Date.now();
  const { seconds, nanos } = realTime();
  const nowMs = seconds * 1000 + nanos / 1e6;
  ok(nowMs >= before && nowMs < Date.now() + 1, `${nowMs}`);
});

Deno.test("struct timespec is two little-endian numbers of eight bytes", () => {
  const bytes = Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 0, 0xff, 0xc9, 0x9a, 0x3b, 0, 0, 0, 0);
  deepEqual(decodeTimeSpec(new DataView(bytes.buffer)), { seconds: 513, nanos: 999_999_999 });
});

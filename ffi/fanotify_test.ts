import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { ERRNO } from "./errno.ts";
import { decodeFanotifyEvents, encodeFanotifyResponse, removeFanotifyEvent } from "./fanotify.ts";

const EVENT = `
  30 00 00 00 03 00 18 00   event_len 48, vers, reserved, metadata_len 24
  00 00 10 00 00 00 00 00   mask: FAN_PRE_ACCESS
  0b 00 00 00 d2 04 00 00   fd 11, pid 1234
  06 00 18 00 00 00 00 00   hdr: info_type RANGE, pad, len 24; pad
  00 10 00 00 01 00 00 00   offset 4 GiB + 4096
  00 20 00 00 00 00 00 00   count 8192
`;
const event = { fd: 11, pid: 1234, offset: 2 ** 32 + 4096, count: 8192, at: 0 };

Deno.test("struct fanotify_event_metadata and its range are laid out as linux/fanotify.h says", () => {
  assert.deepEqual(decodeFanotifyEvents(goldenBytes(EVENT + EVENT)), [event, { ...event, at: 48 }]);
});

Deno.test("an event that was taken out of a buffer has no descriptor, and those around it stay", () => {
  const bytes = goldenBytes(EVENT + EVENT + EVENT);
  removeFanotifyEvent(bytes, 48);
  assert.deepEqual(decodeFanotifyEvents(bytes).map(({ fd }) => fd), [11, -1, 11]);
});

Deno.test("an event without a range record has length 0, and other records before the range are skipped", () => {
  const bare = goldenBytes(`
    18 00 00 00 03 00 18 00   event_len 24
    00 00 10 00 00 00 00 00
    0c 00 00 00 00 00 00 00   fd 12, pid 0
  `);
  assert.deepEqual(decodeFanotifyEvents(bare), [{ fd: 12, pid: 0, offset: 0, count: 0, at: 0 }]);
  const other = goldenBytes(`
    38 00 00 00 03 00 18 00   event_len 56
    00 00 10 00 00 00 00 00
    0b 00 00 00 d2 04 00 00
    04 00 08 00 00 00 00 00   hdr: info_type PIDFD, len 8
    06 00 18 00 00 00 00 00
    00 10 00 00 01 00 00 00
    00 20 00 00 00 00 00 00
  `);
  assert.deepEqual(decodeFanotifyEvents(other), [event]);
});

Deno.test("parsing stops at zeros or an incomplete event, and refuses another version", () => {
  const bytes = goldenBytes(EVENT);
  assert.deepEqual(decodeFanotifyEvents(new Uint8Array([...bytes, ...new Uint8Array(100)])), [event]);
  assert.deepEqual(decodeFanotifyEvents(bytes.subarray(0, 47)), []);
  bytes[4] = 4;
  assert.throws(() => decodeFanotifyEvents(bytes), /version is 4, expected 3/);
});

Deno.test("struct fanotify_response holds allow, or deny with an errno in its highest byte", () => {
  assert.deepEqual(
    encodeFanotifyResponse(11, 0),
    goldenBytes(`
      0b 00 00 00   fd
      01 00 00 00   FAN_ALLOW
    `),
  );
  assert.deepEqual(
    encodeFanotifyResponse(11, ERRNO.EIO),
    goldenBytes(`
      0b 00 00 00
      02 00 00 05   FAN_DENY_ERRNO(EIO)
    `),
  );
});

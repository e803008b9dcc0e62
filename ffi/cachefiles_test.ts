import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { decodeMessage } from "./cachefiles.ts";

Deno.test("OPEN of enum cachefiles_opcode names volume, cookie and descriptor", () => {
  const message = goldenBytes(`
    00 00 00 00 00 00 00 00   msg_id 0, opcode OPEN
    2d 00 00 00 01 00 00 00   len 45, object_id 1
    0a 00 00 00 03 00 00 00   volume_key_size 10 with its NUL, cookie_key_size 3
    09 00 00 00 00 00 00 00   fd 9, flags
    65 72 6f 66 73 2c 64 6f 6d 00  "erofs,dom"
    66 6f 6f                  "foo"
  `);
  const expected = { kind: "open", id: 0, object: 1, volume: "erofs,dom", cookie: "foo", fd: 9 };
  assert.deepEqual(decodeMessage(message), expected);
  const longer = new Uint8Array([...message, ...new Uint8Array(100)]);
  assert.deepEqual(decodeMessage(longer), expected);
});

Deno.test("READ of enum cachefiles_opcode says how many bytes are wanted from where, CLOSE nothing", () => {
  const read = goldenBytes(`
    07 00 00 00 02 00 00 00   msg_id 7, opcode READ
    20 00 00 00 03 00 00 00   len 32, object_id 3
    00 10 00 00 01 00 00 00   off 4 GiB + 4096
    00 20 00 00 00 00 00 00   len 8192
  `);
  assert.deepEqual(decodeMessage(read), { kind: "read", id: 7, object: 3, offset: 2 ** 32 + 4096, length: 8192 });
  const close = goldenBytes(`
    08 00 00 00 01 00 00 00   msg_id 8, opcode CLOSE
    10 00 00 00 03 00 00 00   len 16, object_id 3
  `);
  assert.deepEqual(decodeMessage(close), { kind: "close", id: 8, object: 3 });
});

Deno.test("a message that is cut, or of another kind, is refused", () => {
  const read = goldenBytes(`
    07 00 00 00 02 00 00 00
    20 00 00 00 03 00 00 00
    00 10 00 00 00 00 00 00
    00 20 00 00 00 00 00
  `);
  assert.throws(() => decodeMessage(read), /31 of 32 bytes/);
  assert.throws(() => decodeMessage(read.subarray(0, 15)), /15 of 16 bytes/);
  const other = goldenBytes(`
    07 00 00 00 03 00 00 00   opcode 3
    10 00 00 00 03 00 00 00
  `);
  assert.throws(() => decodeMessage(other), /opcode is 3/);
  const lying = goldenBytes(`
    00 00 00 00 00 00 00 00
    20 00 00 00 01 00 00 00   len 32
    00 ff 00 00 03 00 00 00   volume_key_size 65280
    09 00 00 00 00 00 00 00
  `);
  assert.throws(() => decodeMessage(lying), /32 of 65315 bytes/);
});

import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { answerOpen, CACHE_BLOCK, command, decodeMessage, refuseOpen, restore, writeObject } from "./cachefiles.ts";
import { O, open } from "./fcntl.ts";
import { Mapping } from "./sys_mman.ts";

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

Deno.test("READ of enum cachefiles_opcode holds offset and length, CLOSE has no payload", () => {
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

Deno.test("a truncated message and one of an unknown opcode are refused", () => {
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

Deno.test("commands to the kernel have the syntax that its daemon.c and ondemand.c parse", () => {
  using temp = TempDir.make();
  const path = temp.join("device");
  const cases: [tell: (device: number) => unknown, text: string][] = [
    [(device) => command(device, "dir", "/var/cache/x"), "dir /var/cache/x"],
    [(device) => command(device, "brun", "10%"), "brun 10%"],
    [(device) => command(device, "bind", "ondemand"), "bind ondemand"],
    [(device) => answerOpen(device, 7, 8192), "copen 7,8192"],
    [(device) => answerOpen(device, 2 ** 32 - 1, 2 ** 53 - 4096), "copen 4294967295,9007199254736896"],
    [(device) => refuseOpen(device, 7), "copen 7,-2"],
    [(device) => restore(device), "restore"],
    [(device) => command(device, "cull", "D1,2,file"), "cull D1,2,file"],
  ];
  for (const [tell, text] of cases) {
    using device = open(path, O.WRONLY | O.CREAT | O.TRUNC);
    tell(device.raw);
    assert.equal(Deno.readTextFileSync(path), text);
  }
});

Deno.test("an object is written with direct I/O, in whole blocks from page-aligned memory", async () => {
  using temp = TempDir.make();
  using object = open(temp.join("object"), O.RDWR | O.CREAT | O.DIRECT);
  using memory = Mapping.anonymous(2 * CACHE_BLOCK);
  memory.bytes.fill(1, 0, CACHE_BLOCK + 100);
  await writeObject(object, memory, 2 * CACHE_BLOCK, CACHE_BLOCK);
  const written = Deno.readFileSync(temp.join("object"));
  assert.deepEqual(written, new Uint8Array([...new Uint8Array(CACHE_BLOCK), ...memory.bytes]));
  await assert.rejects(writeObject(object, memory, 100, 0), /EINVAL/, "the kernel would call the block cached");
});

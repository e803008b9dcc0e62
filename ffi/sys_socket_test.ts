import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { accept, listenUnix } from "./sys_socket.ts";
import { read, write } from "./unistd.ts";

Deno.test("connections wait until they are accepted, and carry bytes both ways", async () => {
  using temp = TempDir.make();
  using socket = listenUnix(temp.join("s"));
  assert.equal(accept(socket), undefined);
  using client = await Deno.connect({ transport: "unix", path: temp.join("s") });
  using connection = accept(socket) ?? assert.fail("no connection waits");
  assert.throws(() => read(connection, new Uint8Array(1)), (error) => isErrno(error, "EAGAIN"));
  write(connection, Uint8Array.of(1, 2));
  const received = new Uint8Array(3);
  assert.deepEqual([await client.read(received), ...received], [2, 1, 2, 0]);
  await client.write(Uint8Array.of(3));
  assert.equal(read(connection, received), 1);
  assert.equal(accept(socket), undefined);
});

Deno.test("a path that is taken or too long is refused", () => {
  using temp = TempDir.make();
  using _socket = listenUnix(temp.join("s"));
  assert.throws(() => listenUnix(temp.join("s")), (error) => isErrno(error, "EADDRINUSE"));
  assert.throws(() => listenUnix(temp.join("s".repeat(108))), (error) => isErrno(error, "ENAMETOOLONG"));
});

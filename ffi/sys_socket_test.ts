import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { pidfdGetfd, pidfdOpen } from "./pidfd.ts";
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

Deno.test("nothing waits at a socket of another program that would block", async () => {
  using temp = TempDir.make();
  const script = "use IO::Socket::UNIX; $| = 1; $s = IO::Socket::UNIX->new(Local => shift, Listen => 1); " +
    'print fileno($s), "\\n"; <STDIN>';
  const args = ["-e", script, temp.join("s")];
  const child = new Deno.Command("perl", { args, stdin: "piped", stdout: "piped" }).spawn();
  const { value } = await child.stdout.getReader().read();
  {
    using process = pidfdOpen(child.pid);
    using socket = pidfdGetfd(process, Number(new TextDecoder().decode(value)));
    assert.equal(accept(socket), undefined);
  }
  await child.stdin.close();
  await child.status;
});

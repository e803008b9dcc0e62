import assert from "node:assert/strict";
import { NotifySocket } from "../tests/support/process/notify_socket.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { O, open } from "./fcntl.ts";
import { claimInherited, hasServiceManager, removeStoredDescriptor, storeDescriptor } from "./libsystemd.ts";
import { fstat } from "./sys_stat.ts";

Deno.test("a descriptor is stored with systemd under its name, and removed again", async () => {
  using temp = TempDir.make();
  using socket = NotifySocket.bind(temp.join("notify"));
  using file = open(temp.join("file"), O.RDWR | O.CREAT);
  Deno.env.set("NOTIFY_SOCKET", socket.path);
  try {
    assert.equal(hasServiceManager(), true);
    assert.equal(storeDescriptor("fuse-0", file), true);
    const { text, fd } = await socket.receive();
    using kept = fd;
    assert.equal(text, "FDSTORE=1\nFDNAME=fuse-0");
    assert.ok(kept !== undefined);
    assert.equal(fstat(kept).ino, fstat(file).ino);
    removeStoredDescriptor("fuse-0");
    assert.deepEqual(await socket.receive(), { text: "FDSTOREREMOVE=1\nFDNAME=fuse-0", fd: undefined });
  } finally {
    Deno.env.delete("NOTIFY_SOCKET");
  }
});

Deno.test("without a service manager no descriptor is stored or inherited", () => {
  using file = open("/dev/null", O.RDONLY);
  assert.equal(hasServiceManager(), false);
  assert.equal(storeDescriptor("x", file), false);
  assert.equal(claimInherited({}, Deno.pid).size, 0);
  const ofAnother = { LISTEN_PID: String(Deno.pid + 1), LISTEN_FDS: "1", LISTEN_FDNAMES: "x" };
  assert.equal(claimInherited(ofAnother, Deno.pid).size, 0);
});

/**
 * The service manager's descriptor store as keeper: the whole unit may be killed without readers noticing, and clients of
 * the snapshotter wait.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";
import { LazySnapshots } from "../support/serve/lazy_snapshots.ts";
import { NotifySocket, withStored } from "../support/process/notify_socket.ts";
import { rootTest } from "../support/root_test.ts";
import { SnapshotClient } from "../support/serve/snapshot_client.ts";
import { TempDir } from "../support/temp_dir.ts";

fuseTest("with a descriptor store auto is erofs-fanotify, and the whole unit may be killed", async () => {
  using temp = TempDir.make();
  using manager = NotifySocket.bind(temp.join("notify"));
  await killUnit(manager);
  await manager.receiveLine("FDSTOREREMOVE=1");
});

async function killUnit(manager: NotifySocket): Promise<void> {
  const env = { NOTIFY_SOCKET: manager.path, FDSTORE: "64" };
  await using container = await LazyContainer.start("auto", { env });
  const { driver } = container;
  match((await rowsOf(container)).get("Data Path") ?? "", /^erofs-fanotify \(the service manager keeps/);
  using cleanup = new DisposableStack();
  const stored: [string, Fd][] = [];
  for (const name of ["fanotify", "fanotify-events"]) {
    const { fd } = await manager.receiveLine(`FDNAME=${name}`);
    ok(fd !== undefined);
    stored.push([name, cleanup.use(fd)]);
  }
  await using readers = await container.read(2);
  await driver.kill();
  Deno.kill(container.keeperPid, "SIGKILL");
  for (const [, fd] of stored) fd.setCloseOnExec(false); // as systemd passes them
  await driver.restart({ within: withStored(stored) });
  const { wrong, errors } = await readers.stop();
  deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
  equal((await rowsOf(container)).get("Warning"), undefined);
}

async function rowsOf({ driver }: LazyContainer): Promise<Map<string, string>> {
  const { Status } = await driver.call("GraphDriver.Status");
  return new Map(Status as [string, string][]);
}

/** The socket that a snapshotter has stored. */
async function storedSocket(manager: NotifySocket): Promise<[string, Fd]> {
  for (;;) {
    const { text, fd } = await manager.receive();
    const name = /^FDNAME=(snapshotter-.*)$/m.exec(text)?.[1];
    if (name !== undefined && fd !== undefined) {
      fd.setCloseOnExec(false); // as systemd passes it
      return [name, fd];
    }
    fd?.[Symbol.dispose]();
  }
}

rootTest("calls of the snapshotter that are made between two daemons are answered by the next one", async () => {
  using temp = TempDir.make();
  using manager = NotifySocket.bind(temp.join("notify"));
  await using snapshots = await LazySnapshots.start(undefined, {
    env: { NOTIFY_SOCKET: manager.path, FDSTORE: "64" },
  });
  const { driver, socket } = snapshots;
  const [name, fd] = await storedSocket(manager);
  using _stored = fd;
  const within = withStored([[name, fd]]);
  await snapshots.client.prepare("one");
  const inode = Deno.statSync(socket).ino;
  await snapshots.stop();
  {
    using client = new SnapshotClient(socket);
    const answer = client.list();
    await driver.restart({ within });
    deepEqual(await answer, ["one"]);
    await driver.kill();
  }
  {
    using client = new SnapshotClient(socket);
    const calls = Promise.all([client.prepare("two"), client.mounts("one"), client.list("name==one")]);
    await driver.restart({ within });
    deepEqual((await calls)[2], ["one"]);
    deepEqual(await client.list(), ["one", "two"]);
    equal(Deno.statSync(socket).ino, inode);
    await driver.kill();
  }
  {
    Deno.removeSync(socket);
    await driver.restart({ within });
    await manager.receiveLine(`FDNAME=${name}`); // it is removed from the store: clients do not reach it any more
    const [another, anotherFd] = await storedSocket(manager);
    using _stored = anotherFd;
    using client = new SnapshotClient(socket);
    deepEqual(await client.list(), ["one", "two"]);
    await driver.kill();
    await driver.restart({ within: withStored([[another, anotherFd]]), args: [] });
    await manager.receiveLine(`FDNAME=${another}`);
  }
});

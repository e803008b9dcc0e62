/**
 * The service manager's descriptor store as keeper: the whole unit may be killed without readers noticing.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { fuseTest } from "../support/fuse_mount_kit.ts";
import { LazyContainer } from "../support/lazy_container.ts";
import { NotifySocket, withStored } from "../support/notify_socket.ts";
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

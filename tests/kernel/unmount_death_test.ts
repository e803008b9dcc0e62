/**
 * Unmounts for which the kernel waits: it has sent a read for a program that was killed, and releases the file system
 * only with the answer. Neither may a server wait for itself then, nor keep, once killed, what the answer depends on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { processStat, readProcessFile } from "../../ffi/procfs.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { atMost } from "../../lib/base/abort.ts";
import { ignore } from "../../lib/base/errors.ts";
import { EROFS_TYPE } from "../../lib/mount/erofs/erofs_mount.ts";
import { abortConnection, findMount } from "../../lib/mount/fuse/fuse_mount.ts";
import { keeperPath } from "../../lib/mount/keeper/keeper.ts";
import { endProcess } from "../support/process/end_process.ts";
import type { FakeRegistry } from "../support/backend/fake_registry.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { backendOf, LazyServe, startLazyRegistry } from "../support/serve/lazy_serve.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** Only data that come end the wait. */
const ENV = {
  NYDUS_GD_MOUNT_FS_DRIVER: "erofs-fuse",
  NYDUS_GD_FETCH_DEADLINE: "1h",
  NYDUS_GD_PREFETCH_READ_AHEAD: "0",
};

/** Time after which a server that waits for itself is given up, so that the machine's sync(2) does not wait for it. */
const GIVEN_UP_MS = 60_000;

/** A server with a container on a lazy image, and a read in flight whose reader is dead. */
interface Awaiting {
  readonly serve: LazyServe;
  readonly registry: FakeRegistry;
  /** Mount point of the image. */
  readonly image: string;
  keeperPid(): number;
}

/** Whatever happens, the kernel's waits end with the test. */
async function whileAwaiting(test: (awaiting: Awaiting) => Promise<void>): Promise<void> {
  await using registry = await startLazyRegistry();
  using temp = TempDir.make();
  await using serve = await LazyServe.start(temp.path, { env: ENV, backend: backendOf(registry) });
  const mounts = mountsBelow(temp.path);
  const connection = mounts.map(({ mountPoint }) => findMount(mountPoint)).find((number) => number !== undefined);
  const image = mounts.find(({ fsType }) => fsType === EROFS_TYPE)?.mountPoint;
  assert.ok(connection !== undefined && image !== undefined);
  const givingUp = setTimeout(() => abortConnection(connection), GIVEN_UP_MS);
  try {
    registry.lasting = { kind: "stall" };
    const asked = registry.requests.length;
    const reader = new Deno.Command("cat", { args: [serve.root + serve.files[0]], stdout: "null" }).spawn();
    await until("data are awaited", () => registry.requests.length > asked);
    endProcess(reader);
    await reader.status;
    const keeperPid = () => JSON.parse(Deno.readTextFileSync(keeperPath(temp.join("root/state")))).pid;
    await test({ serve, registry, image, keeperPid });
    await until("the kernel has released everything", () => unmounting().length === 0);
  } catch (error) {
    await ignore(Deno.errors.NotFound, abortConnection(connection));
    throw error;
  } finally {
    clearTimeout(givingUp);
  }
}

/** The processes of this namespace that unmount something. */
function unmounting(): string[] {
  const pids = [...Deno.readDirSync("/proc")].map(({ name }) => name).filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => readProcessFile(pid, "comm") === "umount\n" && processStat(pid)?.[0] !== "Z");
}

/** Has the server unmount the image, and kills it while the kernel waits. */
async function killUnmounting({ serve: { driver }, image }: Awaiting): Promise<void> {
  const removed = (async () => {
    await driver.call("GraphDriver.Put", { ID: "box" });
    for (const ID of ["box", "image"]) await driver.call("GraphDriver.Remove", { ID });
  })();
  removed.catch(() => {}); // its connection may end
  await until("the image is unmounted", () => mountsBelow(image).length === 0);
  await driver.kill();
}

fuseTest("a server that is killed while the kernel waits to release an image ends, and so does the wait", async () => {
  await whileAwaiting(async (awaiting) => {
    await killUnmounting(awaiting);
    assert.notDeepEqual(unmounting(), [], "nobody has answered the read");
    Deno.kill(awaiting.keeperPid(), "SIGKILL");
  });
});

fuseTest("the next server ends the wait of the kernel to release an image", async () => {
  await whileAwaiting(async (awaiting) => {
    await killUnmounting(awaiting);
    assert.notDeepEqual(unmounting(), [], "nobody has answered the read");
    await awaiting.serve.driver.restart();
  });
});

fuseTest("the end of a container whose image others have unmounted does not stop the server", async () => {
  await whileAwaiting(async ({ serve: { driver }, registry, image }) => {
    umount2(image, MNT.DETACH);
    const answered = driver.call("GraphDriver.Put", { ID: "box" }).then(() => true);
    assert.ok(await atMost(GIVEN_UP_MS / 2, answered), "the server has unmounted the container's layer");
    registry.lasting = undefined;
    registry.dropConnections();
  });
});

/**
 * Threads that answer the kernel and fail while they do so: others take their place, and no program notices.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { FailingThreads } from "../support/serve/failing_threads.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { Prober } from "../support/mount/fs_probe.ts";
import { MountedSynthetic, readOf } from "../support/mount/mounted_synthetic.ts";

/** How long a reader may wait, whatever fails. */
const WAIT_MS = 30_000;

for (const fsDriver of TESTED_DATA_PATHS.filter((driver) => driver !== "erofs-fscache")) { // has no such thread
  fuseTest(`a thread that fails is replaced, and readers get their bytes (${fsDriver})`, async () => {
    using threads = new FailingThreads();
    await using mounted = await MountedSynthetic.make(fsDriver);
    await using _mount = mounted.mount;
    await using reader = new Prober();
    const read = async (chunk: number) => (await reader.probe([readOf(mounted.path, chunk)], WAIT_MS))[0];
    assert.equal(await read(0), mounted.expected(0));
    for (let chunk = 1; chunk < 5; chunk++) {
      threads.fail();
      assert.equal(await read(chunk), mounted.expected(chunk));
    }
    assert.ok(mounted.kit.mounts.counters().threadFailures > 0);
  });

  fuseTest(`a read that waits for data when its thread fails gets them (${fsDriver})`, async () => {
    using threads = new FailingThreads();
    await using mounted = await MountedSynthetic.make(fsDriver);
    await using _mount = mounted.mount;
    const fetching = Promise.withResolvers<void>(), gate = Promise.withResolvers<void>();
    mounted.image.beforeFetch = async (chunk) => {
      if (chunk !== 3) return;
      fetching.resolve();
      await gate.promise;
    };
    await using slow = new Prober();
    const waiting = slow.probe([readOf(mounted.path, 3)], WAIT_MS);
    await fetching.promise;
    await using reader = new Prober();
    for (const chunk of [9, 12]) {
      threads.fail();
      assert.deepEqual(await reader.probe([readOf(mounted.path, chunk)], WAIT_MS), [mounted.expected(chunk)]);
    }
    gate.resolve();
    assert.deepEqual(await waiting, [mounted.expected(3)]);
  });
}

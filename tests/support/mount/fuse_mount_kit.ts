/**
 * Helpers for tests of FUSE mounts: skip condition, a session with its directories, and leak checks.
 *
 * @module
 */
import { readProcessFile, readProcessLink } from "../../../ffi/procfs.ts";
import { mount, MS } from "../../../ffi/sys_mount.ts";
import { FuseSession, type FuseSessionOptions } from "../../../lib/mount/fuse/session.ts";
import type { ImageMount } from "../../../lib/mount/image_mount.ts";
import { isRoot } from "../root_test.ts";
import { TempDir } from "../temp_dir.ts";
import { until } from "../until.ts";

/** Interval of {@link untilReleased}, milliseconds. */
const FORGET_MS = 20;

function whyNot(): string | undefined {
  if (!isRoot) return "not root";
  try {
    Deno.statSync("/dev/fuse");
    return undefined;
  } catch {
    return "no /dev/fuse";
  }
}

const reason = whyNot();
if (reason !== undefined) console.log(`FUSE tests are skipped: ${reason}`);

/** Defines a test that needs root and /dev/fuse. */
export function fuseTest(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, ignore: reason !== undefined, fn });
}

/** A session in a directory of its own, which is removed with it. */
export class TestSession implements AsyncDisposable {
  private constructor(readonly temp: TempDir, readonly session: FuseSession) {}

  static async start(options: Partial<FuseSessionOptions> = {}): Promise<TestSession> {
    const temp = TempDir.make();
    try {
      return await TestSession.startIn(temp, options);
    } catch (error) {
      temp[Symbol.dispose]();
      throw error;
    }
  }

  /** Starts in a directory that may already have content. */
  static async startIn(temp: TempDir, options: Partial<FuseSessionOptions>): Promise<TestSession> {
    Deno.mkdirSync(temp.join("mnt"));
    Deno.mkdirSync(temp.join("state"));
    const places = { mountpoint: temp.join("mnt"), stateDir: temp.join("state") };
    return new TestSession(temp, await FuseSession.start({ ...places, workers: 2, deadlineMs: 60_000, ...options }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    this.temp[Symbol.dispose]();
  }
}

/**
 * Has the kernel forget the unused files of one file system, as it does when it needs the memory. By a remount, unlike
 * /proc/sys/vm/drop_caches, which may leave what was used just now, and waits for every mount in progress on the machine.
 */
export function forgetUnused(mountPoint: string, flags = 0): void {
  mount(null, mountPoint, null, MS.REMOUNT | flags);
}

/** Waits until the kernel has released an image of the session that nobody uses any more. */
export async function untilReleased(
  { session }: TestSession,
  { released }: Pick<ImageMount, "released">,
): Promise<void> {
  let isReleased = false;
  released.then(() => isReleased = true);
  await until("the kernel has released the image", () => {
    if (!isReleased) forgetUnused(session.mountpoint, MS.RDONLY);
    return isReleased;
  }, FORGET_MS);
}

/** Number of descriptors of this process open on /dev/fuse. */
export function fuseDescriptors(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    if (readProcessLink("self", `fd/${name}`) === "/dev/fuse") count++;
  }
  return count;
}

/** Number of threads of this process that run a Worker. */
export function workerThreads(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    if (readProcessFile("self", `task/${name}/comm`)?.startsWith("worker-") === true) count++;
  }
  return count;
}

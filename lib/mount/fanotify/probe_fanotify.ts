/**
 * Probes whether the kernel asks before it reads a device of EROFS: mounts a file whose device is watched, and reads
 * it. The first event is denied, the second allowed, and the reader must get the corresponding results.
 *
 * If a predecessor has images in use by this data path, the kernel was probed when it started: then only the
 * directories are checked.
 *
 * @module
 */
import { ERRNO, isErrno, SyscallError } from "../../../ffi/errno.ts";
import { decodeFanotifyEvents, fanotifyInit, markFile, respond } from "../../../ffi/fanotify.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { Fd } from "../../../ffi/fd.ts";
import { POLL, pollNonblocking } from "../../../ffi/poll.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { pwriteAll, read } from "../../../ffi/unistd.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { ErofsTasks } from "../erofs/erofs_tasks.ts";
import { imageOfOneFile, PROBE_CHUNKS, probeChunkBytes } from "../erofs/probe.ts";
import { probePath } from "../erofs/probe_places.ts";
import { fanotifyKeeperPath, Keeper } from "../keeper/keeper.ts";

/** Maximum milliseconds to wait for an event. */
const EVENT_TIMEOUT_MS = 5_000;

/** Value of all bytes of the device. */
const BYTE = 1;

/**
 * Probes the data path. Requires that {@link probeErofs} has passed.
 *
 * @param stateDir directory that images will be in
 * @param cacheDir directory that devices will be in
 * @throws {NydusGdError} "environment" when it cannot be used, with the reason
 */
export async function probeFanotify(stateDir: string, cacheDir: string): Promise<void> {
  const device = probePath(cacheDir);
  try {
    using group = startGroup();
    using file = open(device, O.RDWR | O.CREAT | O.EXCL, 0o600);
    pwriteAll(file, new Uint8Array(PROBE_CHUNKS * probeChunkBytes()).fill(BYTE), 0);
    watch(group, file, cacheDir);
    if (await Keeper.pidOf(fanotifyKeeperPath(stateDir)) === undefined) await mountAndRead(group, device, stateDir);
  } finally {
    await ignore(Deno.errors.NotFound, Deno.remove(device));
  }
}

async function mountAndRead(group: Fd, device: string, stateDir: string): Promise<void> {
  const folder = probePath(stateDir);
  const image = `${folder}/image`, target = `${folder}/mnt`;
  await Deno.mkdir(target, { recursive: true, mode: 0o700 });
  try {
    await Deno.writeFile(image, imageOfOneFile(probeChunkBytes()));
    using tasks = new ErofsTasks();
    await tasks.mount({ image, devices: [device], target, readAheadKb: 0 });
    try {
      await requireAsked({ tasks, group, path: `${target}/file` });
    } finally {
      umount2(target, MNT.DETACH);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function startGroup(): Fd {
  try {
    return fanotifyInit();
  } catch (error) {
    if (!isErrno(error, "EINVAL", "ENOSYS", "EPERM")) throw error;
    throw cannot(`kernel ${Deno.osRelease()} does not ask before a file is read (Linux 6.14)`, error);
  }
}

function watch(group: Fd, file: Fd, cacheDir: string): void {
  try {
    markFile(group, file);
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP", "EINVAL", "ENODEV")) throw error;
    throw cannot(`files of ${cacheDir} cannot be watched, it has to be on ext4, xfs or btrfs`, error);
  }
}

/** A file of a mounted image, and the group that is asked about it. */
interface AskedFile {
  readonly tasks: ErofsTasks;
  readonly group: Fd;
  readonly path: string;
}

async function requireAsked(file: AskedFile): Promise<void> {
  const refused = await readAsked(file, 0, ERRNO.EIO);
  if (refused !== "EIO") throw cannot(`a reader that was refused got ${refused}`);
  const given = await readAsked(file, probeChunkBytes(), 0);
  if (given !== BYTE) throw cannot(`a reader that was let through got ${given}`);
}

/** Reads a byte and answers its event with `errno`. */
async function readAsked({ tasks, group, path }: AskedFile, offset: number, errno: number): Promise<number | string> {
  const abort = new AbortController();
  const reading = tasks.readByte(path, offset).finally(() => abort.abort());
  const answering = answerEvents(group, errno, abort.signal);
  const [got, asked] = await Promise.all([reading, answering]);
  if (!asked) throw cannot(`kernel ${Deno.osRelease()} does not ask before EROFS reads a file`);
  return got;
}

/** Answers events until the reader is served; returns whether there were any. */
async function answerEvents(group: Fd, errno: number, signal: AbortSignal): Promise<boolean> {
  let asked = false;
  const bytes = new Uint8Array(4096);
  try {
    for (;;) {
      const [ready = 0] = await pollNonblocking([{ fd: group, events: POLL.IN }], EVENT_TIMEOUT_MS, signal);
      if (ready === 0) return asked;
      for (const { fd } of decodeFanotifyEvents(bytes.subarray(0, read(group, bytes)))) {
        respond(group, fd, errno);
        Fd.own(fd)[Symbol.dispose]();
        asked = true;
      }
    }
  } catch (error) {
    if (signal.aborted) return asked;
    throw error instanceof SyscallError ? cannot(error.message, error) : error;
  }
}

function cannot(state: string, cause?: unknown): NydusGdError {
  return new NydusGdError("environment", `Cannot watch files: ${state}`, { cause });
}

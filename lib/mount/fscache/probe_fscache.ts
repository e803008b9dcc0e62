/**
 * Probes whether the kernel can mount EROFS from its cache and asks for missing data: mounts an image and reads it.
 *
 * @module
 */
import { restore } from "../../../ffi/cachefiles.ts";
import { MNT } from "../../../ffi/sys_mount.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { ErofsTasks } from "../erofs/erofs_tasks.ts";
import { imageOfOneFile, PROBE_CHUNKS, probeChunkBytes } from "../erofs/probe.ts";
import { probePath } from "../erofs/probe_places.ts";
import { fscacheKeeperPath, Keeper } from "../keeper/keeper.ts";
import { unmount } from "../unmount/unmount.ts";
import { openCacheDevice } from "./cache_device.ts";
import { CacheServer } from "./cache_server.ts";
import { volumeOf } from "./domain.ts";
import { ImageSource, type ObjectSource, type Stretch } from "./object_source.ts";

/** Maximum wait of a read for its data, milliseconds. */
const DEADLINE_MS = 5_000;
const DOMAIN = "nydus-gd-probe";
/** Name of the device in {@link imageOfOneFile}. */
const DEVICE = "probe";
/** Value of every byte of the file. */
const BYTE = 1;

/** Result of the probe. */
export interface FscacheProbe {
  /** Whether a successor can take over the cache of a process that was killed. */
  readonly canBeTakenOver: boolean;
}

/**
 * Probes the data path, unless a predecessor has it in use.
 *
 * @throws {NydusGdError} "environment", "busy" when it cannot be used, with the reason
 */
export async function probeFscache(stateDir: string, cacheDir: string): Promise<FscacheProbe> {
  if (await Keeper.pidOf(fscacheKeeperPath(stateDir)) !== undefined) return { canBeTakenOver: true };
  const cache = probePath(cacheDir), folder = probePath(stateDir);
  try {
    return await tryIn(cache, folder);
  } finally {
    for (const path of [cache, folder]) await ignore(Deno.errors.NotFound, Deno.remove(path, { recursive: true }));
  }
}

async function tryIn(cache: string, folder: string): Promise<FscacheProbe> {
  using device = await openCacheDevice(cache);
  const canBeTakenOver = restore(device);
  const target = `${folder}/mnt`;
  await Deno.mkdir(target, { recursive: true, mode: 0o700 });
  const server = new CacheServer(device, DEADLINE_MS);
  server.serve();
  try {
    await mountAndRead(server, folder, target);
    return { canBeTakenOver };
  } finally {
    await server.end();
  }
}

async function mountAndRead(server: CacheServer, folder: string, target: string): Promise<void> {
  const path = `${folder}/image`, fsid = crypto.randomUUID();
  await Deno.writeFile(path, imageOfOneFile(probeChunkBytes()));
  using image = ImageSource.open(undefined, path);
  server.offer(volumeOf(DOMAIN), fsid, image);
  server.offer(volumeOf(DOMAIN), DEVICE, new Filled());
  using tasks = new ErofsTasks();
  await tasks.mountCached({ domain: DOMAIN, fsid, target, readAheadKb: 0 });
  try {
    const got = await tasks.readByte(`${target}/file`, 0);
    if (got !== BYTE) throw new NydusGdError("environment", `Cannot use fscache: a reader got ${got}`);
  } finally {
    await unmount(target, MNT.DETACH);
  }
}

/** A device whose bytes are all {@link BYTE}. */
class Filled implements ObjectSource {
  readonly sizeBytes = PROBE_CHUNKS * probeChunkBytes();
  readonly known = undefined;

  widened(stretch: Stretch): Stretch {
    return stretch;
  }

  read(_offset: number, out: Uint8Array): Promise<void> {
    out.fill(BYTE);
    return Promise.resolve();
  }
}

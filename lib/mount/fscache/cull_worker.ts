/**
 * A Worker that culls unused files of the kernel's cache, least recently used first. The kernel requires culling from
 * within a file's directory, and a thread can have a working directory of its own.
 *
 * @module
 */
import { command } from "../../../ffi/cachefiles.ts";
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { CLONE, unshare } from "../../../ffi/sched.ts";
import { fchdir } from "../../../ffi/unistd.ts";
import { messageOf } from "../../base/errors.ts";
import { occupiedBytes } from "../../blob/cache/cache_usage.ts";
import type { CullReply, CullRequest } from "./culler.ts";
import { isAbove } from "./cull_limits.ts";

const scope = self as unknown as {
  postMessage(message: CullReply): void;
  onmessage: ((event: MessageEvent<CullRequest>) => void) | null;
};

/** A file of the cache. */
interface CacheEntry {
  readonly dir: string;
  readonly name: string;
  readonly usedMs: number;
  readonly bytes: number;
}

function cull({ device, dir, untilFree }: CullRequest): CullReply {
  const answer = { culled: 0, bytes: 0 };
  for (const { dir: folder, name, bytes } of entriesBelow(`${dir}/cache`).sort((a, b) => a.usedMs - b.usedMs)) {
    if (isAbove(untilFree, dir)) break;
    using at = open(folder, O.RDONLY | O.DIRECTORY);
    fchdir(at);
    if (!isCulled(device, name)) continue;
    answer.culled++;
    answer.bytes += bytes;
  }
  return answer;
}

/** False for a file that is in use, or gone. */
function isCulled(device: number, name: string): boolean {
  try {
    command(device, "cull", name);
    return true;
  } catch (error) {
    if (isErrno(error, "EBUSY", "ENOENT", "ESTALE")) return false;
    throw error;
  }
}

/** Lists the files of all volumes (directories "I…", which contain one level of "@…"). */
function entriesBelow(dir: string): CacheEntry[] {
  const entries: CacheEntry[] = [];
  for (const { name, isDirectory, isFile } of Deno.readDirSync(dir)) {
    if (isDirectory) entries.push(...entriesBelow(`${dir}/${name}`));
    else if (isFile) entries.push(entryOf(dir, name));
  }
  return entries;
}

function entryOf(dir: string, name: string): CacheEntry {
  const info = Deno.lstatSync(`${dir}/${name}`);
  return { dir, name, usedMs: info.atime?.getTime() ?? 0, bytes: occupiedBytes(info) };
}

unshare(CLONE.FS);
scope.onmessage = ({ data }) => {
  try {
    scope.postMessage(cull(data));
  } catch (error) {
    scope.postMessage({ culled: 0, bytes: 0, error: messageOf(error) });
  }
};

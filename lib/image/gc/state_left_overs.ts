/**
 * Finds unused files in the state folder: temporary files of killed processes, and files of removed layers.
 *
 * Only files unchanged for an hour count; younger ones may still be in use.
 *
 * @module
 */
import { join } from "node:path";
import { ignore } from "../../base/errors.ts";
import { occupiedBytes } from "../../blob/cache/cache_usage.ts";
import type { LeftOver } from "../../blob/cache/cache_inventory.ts";
import type { LazyLayer } from "../../layer/lazy/lazy_images.ts";
import { IMAGE_SUFFIX } from "../../mount/erofs/erofs_tasks.ts";

const SETTLED_MS = 3_600_000;

/** Layout of the state folder. */
export const STATE_FOLDERS = {
  /** Recorded backend choices, `<layer id>.json`. */
  homes: "homes",
  /** Records of `nydus-gd pull`, `<digits of the diffID>.json`. */
  pulled: "pulled",
} as const;

/** Returns the unused files. @param layers undefined if unknown; then only temporary files are returned */
export async function stateLeftOvers(
  stateDir: string,
  layers: readonly LazyLayer[] | undefined,
): Promise<LeftOver[]> {
  const images = layers && new Set(layers.map(({ id }) => `${id}${IMAGE_SUFFIX}`));
  const homes = layers && new Set(layers.map(({ id }) => `${id}.json`));
  return [
    ...await oldFiles(
      stateDir,
      (name) => isAside(name) || (name.endsWith(IMAGE_SUFFIX) && images?.has(name) === false),
    ),
    ...await oldFiles(join(stateDir, STATE_FOLDERS.homes), (name) => isAside(name) || homes?.has(name) === false),
    ...await pulledLeftOvers(stateDir, layers),
  ];
}

/** Like {@link stateLeftOvers}, but only records of `nydus-gd pull`, whose images have not arrived or are removed. */
export async function pulledLeftOvers(
  stateDir: string,
  layers: readonly LazyLayer[] | undefined,
): Promise<LeftOver[]> {
  const pulled = layers && new Set(layers.map(({ diffId }) => `${diffId?.replace("sha256:", "")}.json`));
  return await oldFiles(join(stateDir, STATE_FOLDERS.pulled), (name) => isAside(name) || pulled?.has(name) === false);
}

function isAside(name: string): boolean {
  return name.endsWith(".tmp");
}

async function oldFiles(dir: string, isLeft: (name: string) => boolean): Promise<LeftOver[]> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(dir))) ?? [];
  const found: LeftOver[] = [];
  for (const { name, isFile } of entries) {
    if (!isFile || !isLeft(name)) continue;
    const path = join(dir, name);
    const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
    const age = Date.now() - (info?.mtime?.getTime() ?? Infinity);
    if (info !== undefined && age >= SETTLED_MS) found.push({ path, bytes: occupiedBytes(info) });
  }
  return found;
}

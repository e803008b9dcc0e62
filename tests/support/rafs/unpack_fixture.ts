/**
 * Unpacks images of tests/fixtures/rafs, without a cache that is kept.
 *
 * @module
 */
import { join } from "node:path";
import { LocalFsBackend } from "../../../lib/backend/localfs.ts";
import { FolderSink } from "../../../lib/image/unpack/folder_sink.ts";
import type { TreeSink } from "../../../lib/image/unpack/tree_sink.ts";
import { unpackImage, type UnpackOptions, type UnpackResult } from "../../../lib/image/unpack/unpack_image.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import {
  type ListedEntry,
  percentEncode,
  type RafsFixture,
  readFixtureBootstrap,
  storedListing,
} from "./rafs_fixtures.ts";

/** @param folder for temporary files @param change of options: another backend, a signal */
export async function unpackFixture(
  { bootstrap, directory }: Pick<RafsFixture, "bootstrap" | "directory">,
  sink: TreeSink,
  folder: string,
  change: Partial<UnpackOptions> = {},
): Promise<UnpackResult> {
  return await unpackImage({
    ...{ source: bootstrap, sourceName: bootstrap },
    backend: LocalFsBackend.inFolder(join(directory, "blobs")),
    sink,
    folder,
    cacheDir: undefined,
    fetching: { decodeWorkers: 0 },
    signal: new AbortController().signal,
    onProgress: () => {},
    ...change,
  });
}

/** Unpacks into a new or empty folder. */
export async function unpackInto(
  dir: string,
  fixture: Pick<RafsFixture, "bootstrap" | "directory">,
): Promise<UnpackResult> {
  const sink = await FolderSink.open(dir);
  return await unpackFixture(fixture, sink, sink.staging);
}

/**
 * The listing of an image that was unpacked: link counts are those of the names that share an inode, whatever the image
 * stores. Builders before 2.3 stored names of one file as inodes of their own, with its count.
 */
export async function unpackedListing(fixture: RafsFixture): Promise<ListedEntry[]> {
  const inodes = new Map<string, number>(), names = new Map<number, number>();
  for (const { path, ino } of walkTree(openBootstrap(await readFixtureBootstrap(fixture), { treeOnly: true }))) {
    inodes.set(percentEncode(path), ino);
    names.set(ino, (names.get(ino) ?? 0) + 1);
  }
  return storedListing(fixture).map((entry) => {
    if (entry.type === "dir") return entry;
    const nlink = names.get(inodes.get(entry.path) ?? -1) ?? 0;
    const { link, ...others } = entry;
    return { ...others, nlink, ...(nlink > 1 && link !== undefined ? { link } : {}) };
  });
}

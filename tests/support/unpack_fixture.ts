/**
 * Unpacks images of tests/fixtures/rafs, without a cache that is kept.
 *
 * @module
 */
import { join } from "node:path";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { FolderSink } from "../../lib/image/unpack/folder_sink.ts";
import type { TreeSink } from "../../lib/image/unpack/tree_sink.ts";
import { unpackImage, type UnpackOptions, type UnpackResult } from "../../lib/image/unpack/unpack_image.ts";
import type { RafsFixture } from "./rafs_fixtures.ts";

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

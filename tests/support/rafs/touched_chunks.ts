/**
 * Number of blob bytes that a set of files consists of.
 *
 * @module
 */
import { emptyAttr } from "../../../lib/rafs/bootstrap.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { blobMetaRange } from "../../../lib/rafs/blob/blob_meta.ts";
import { type RafsFixture, readFixtureBootstrap } from "./rafs_fixtures.ts";

/** Stored bytes of the chunks of `paths`, counting each chunk once, plus the blobs' compression info. */
export async function touchedBytes(
  fixture: RafsFixture,
  paths: readonly string[],
): Promise<{ chunks: number; meta: number }> {
  const tree = openBootstrap(await readFixtureBootstrap(fixture));
  const sizes = new Map<string, number>();
  for (const { blobIndex, chunkIndex, compressedSize } of tree.chunkRecords()) {
    sizes.set(`${blobIndex}/${chunkIndex}`, compressedSize);
  }
  const touched = new Set<string>();
  const attr = emptyAttr();
  for (const path of paths) {
    let ino = tree.rootIno;
    for (const part of path.split("/").filter((each) => each !== "")) {
      ino = tree.lookup(ino, new TextEncoder().encode(part));
      if (ino === 0) throw new Error(`Cannot find ${path} in ${fixture.name}`);
    }
    tree.attr(ino, attr);
    for (const { blobIndex, chunkIndex } of tree.extents(ino, 0, attr.size)) touched.add(`${blobIndex}/${chunkIndex}`);
  }
  return {
    chunks: [...touched].reduce((sum, key) => sum + (sizes.get(key) ?? 0), 0),
    meta: tree.blobs.reduce((sum, { meta }) => sum + (meta === undefined ? 0 : blobMetaRange(meta).length), 0),
  };
}

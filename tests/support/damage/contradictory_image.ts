/**
 * v6 bootstraps that EROFS cannot mount although our own reader can read each file.
 *
 * @module
 */
import { BLOB_FEATURE } from "../../../lib/rafs/format/flags.ts";
import { CHUNK_INDEX } from "../../../lib/rafs/v6/layout.ts";
import { BootstrapWriter } from "../../../lib/rafs/v6/writer.ts";

const OWNER = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };
const CHUNK = 4096;

/** Has the files `a` and `b`, which place chunk 5 differently. */
export function contradictoryBootstrap(): Uint8Array<ArrayBuffer> {
  return bootstrapOf([["a", 5, 0], ["b", 5, CHUNK]]);
}

/** Has the files `a` and `b`; the kernel takes the chunk of `b` for a hole (EROFS_NULL_ADDR). */
export function bootstrapWithHole(): Uint8Array<ArrayBuffer> {
  const marker = 0x00ab_cdef;
  const bytes = bootstrapOf([["a", 0, 0], ["b", 1, marker * CHUNK]]);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += CHUNK_INDEX.SIZE) {
    if (view.getUint32(at + CHUNK_INDEX.block, true) === marker) view.setUint32(at + CHUNK_INDEX.block, ~0, true);
  }
  return bytes;
}

/** Makes files of one chunk, each at an offset of the blob's address space. */
function bootstrapOf(
  files: readonly (readonly [name: string, chunkIndex: number, uncompressedOffset: number])[],
): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize: CHUNK, compressor: "none", digester: "sha256" });
  const root = writer.addInode({ ...OWNER, mode: 0o040755 });
  for (const [name, chunkIndex, uncompressedOffset] of files) {
    const chunks = [{ blobIndex: 0, chunkIndex, uncompressedOffset }];
    writer.addEntry(
      root,
      new TextEncoder().encode(name),
      writer.addInode({ ...OWNER, mode: 0o100644, size: 10, chunks }),
    );
  }
  return writer.finish([{
    index: 0,
    id: "blob",
    compressor: "none",
    digester: "sha256",
    chunkSize: CHUNK,
    chunkCount: 0,
    features: BLOB_FEATURE.aligned | BLOB_FEATURE.chunkInfoV2,
    compressedSize: 2 * CHUNK,
    uncompressedSize: 2 * CHUNK,
    meta: { compressor: "none", offset: 0, compressedSize: 0, uncompressedSize: 0 },
  }]);
}

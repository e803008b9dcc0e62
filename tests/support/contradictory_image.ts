/**
 * A v6 bootstrap whose files say two things of one chunk, which EROFS cannot tell: each read of it by itself is harmless.
 *
 * @module
 */
import { BLOB_FEATURE } from "../../lib/rafs/flags.ts";
import { BootstrapWriter } from "../../lib/rafs/v6/writer.ts";

const OWNER = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };
const CHUNK = 4096;

/** With the files `a` and `b`, both of chunk 5, at two places. */
export function contradictoryBootstrap(): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize: CHUNK, compressor: "none", digester: "sha256" });
  const root = writer.addInode({ ...OWNER, mode: 0o040755 });
  for (const [name, uncompressedOffset] of [["a", 0], ["b", CHUNK]] as const) {
    const chunks = [{ blobIndex: 0, chunkIndex: 5, uncompressedOffset }];
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

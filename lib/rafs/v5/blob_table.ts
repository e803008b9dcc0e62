/**
 * The blob table of RAFS v5 and its extension with counts and sizes, which old images lack.
 *
 * @module
 */
import type { BlobDescriptor } from "../bootstrap.ts";
import { LIMIT, readBlobId } from "../format/flags.ts";
import { readU64, refuse, unreadable } from "../format/guard.ts";
import { BLOB_HEAD, EXT_BLOB } from "./layout.ts";
import type { SuperBlock } from "./super_block.ts";

/** Maximum number of blobs. OCI allows 127 layers; chunk dictionaries come on top. */
const MAX_BLOBS = 4096;

/**
 * Reads every blob of the image. Counts and sizes are 0 without an extended table.
 *
 * Limits the sum of the chunk counts as well, because v5 chunk tables are allocated from it.
 */
export function readBlobTable(bytes: Uint8Array, view: DataView, sb: SuperBlock): BlobDescriptor[] {
  const ids = readBlobIds(bytes, sb);
  const extEntries = sb.extBlobTable.size / EXT_BLOB.SIZE;
  if (extEntries > 0 && extEntries !== ids.length) {
    unreadable("RAFS v5 extended blob table", sb.extBlobTable.at, `${extEntries} entries for ${ids.length} blobs`);
  }
  const { compressor, digester, chunkSize } = sb;
  const blobs = ids.map((id, index) => {
    const extension = extEntries > 0 ? readExtension(view, sb, index) : NO_EXTENSION;
    return { index, id, compressor, digester, chunkSize, ...extension, meta: undefined };
  });
  const chunks = blobs.reduce((sum, blob) => sum + blob.chunkCount, 0);
  if (chunks > LIMIT.chunks) {
    unreadable(
      "RAFS v5 extended blob table",
      sb.extBlobTable.at,
      `${chunks} chunks in total, expected ${LIMIT.chunks} at most`,
    );
  }
  return blobs;
}

/** What the extended table says about a blob. */
type Extension = Pick<BlobDescriptor, "chunkCount" | "features" | "compressedSize" | "uncompressedSize">;

const NO_EXTENSION: Extension = { chunkCount: 0, features: 0, compressedSize: 0, uncompressedSize: 0 };

function readExtension(view: DataView, sb: SuperBlock, index: number): Extension {
  const what = `RAFS v5 extended blob table entry ${index}`;
  const at = sb.extBlobTable.at + index * EXT_BLOB.SIZE;
  const limited = (name: string, value: number, limit: number) =>
    value <= limit ? value : unreadable(what, at, `${name} is ${value}, expected ${limit} at most`);
  const size = (name: string, offset: number, limit: number) => limited(name, readU64(view, at + offset, what), limit);
  const chunkCount = limited("chunk count", view.getUint32(at + EXT_BLOB.chunkCount, true), LIMIT.chunks);
  const features = view.getUint32(at + EXT_BLOB.features, true);
  const compressedSize = size("compressed size", EXT_BLOB.compressedSize, LIMIT.compressedSize);
  const uncompressedSize = size("uncompressed size", EXT_BLOB.uncompressedSize, LIMIT.uncompressedSize);
  if (chunkCount > 0 && compressedSize === 0) {
    refuse(
      `${what} at ${at}`,
      "the image was made of the index of an eStargz layer, which has no digests of its chunks",
    );
  }
  if (chunkCount > Math.min(compressedSize, uncompressedSize)) {
    unreadable(what, at, `${chunkCount} chunks in ${uncompressedSize} bytes, stored in ${compressedSize}`);
  }
  return { chunkCount, features, compressedSize, uncompressedSize };
}

/** Ids are separated by one NUL. The last one ends with the table or its padding to 8 bytes. */
function readBlobIds(bytes: Uint8Array, sb: SuperBlock): string[] {
  const what = "RAFS v5 blob table";
  const end = sb.blobTable.at + sb.blobTable.size;
  const ids: string[] = [];
  const seen = new Set<string>();
  for (let at = sb.blobTable.at; at + BLOB_HEAD.SIZE < end;) {
    const start = at + BLOB_HEAD.SIZE;
    const nul = bytes.subarray(start, end).indexOf(0);
    const stop = nul < 0 ? end : start + nul;
    const id = readBlobId(bytes.subarray(start, stop), what, at);
    if (seen.has(id)) unreadable(what, at, `blob ${id} occurs twice`);
    if (ids.length === MAX_BLOBS) unreadable(what, at, `there are more than ${MAX_BLOBS} blobs`);
    seen.add(id);
    ids.push(id);
    at = stop + 1;
  }
  return ids;
}

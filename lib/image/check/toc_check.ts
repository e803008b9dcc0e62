/**
 * Checks the table of contents (ToC) at the end of a blob: its presence, its offsets against the bootstrap, and the
 * digest of each section.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { equalBytes } from "../../base/bytes.ts";
import { decryptXts } from "../../blob/codec/aes_xts.ts";
import { decompressInto } from "../../blob/codec/codec.ts";
import type { BlobCipher, BlobDescriptor } from "../../rafs/bootstrap.ts";
import { CI_HEADER } from "../../rafs/blob/blob_meta.ts";
import type { Findings } from "../../rafs/check/findings.ts";
import { BLOB_FEATURE, has } from "../../rafs/format/flags.ts";
import { MAX_BOOTSTRAP, type ReadRange, readToc, SECTION, type TocEntry } from "../../rafs/blob/toc.ts";

/**
 * Checks the ToC of a blob whose features announce one.
 *
 * @param read reads from the blob
 * @param blobSize size of the whole blob in bytes
 * @throws what `read` throws
 */
export async function checkToc(
  blob: BlobDescriptor,
  read: ReadRange,
  blobSize: number,
  findings: Findings,
): Promise<void> {
  if (!has(blob.features, BLOB_FEATURE.hasToc)) return;
  const where = `blob ${blob.id}`;
  const entries = await readToc(read, blobSize);
  if (entries === undefined) return findings.add("blob", where, "it has no table of contents, but its features say so");
  const { meta } = blob;
  const entryOf = (name: string) => entries.find((entry) => entry.name === name);
  if (meta !== undefined && blob.chunkCount > 0) {
    const expected = [
      [SECTION.meta, meta.offset, meta.compressedSize, meta.uncompressedSize],
      [SECTION.metaHeader, meta.offset + meta.compressedSize, CI_HEADER.SIZE, CI_HEADER.SIZE],
    ] as const;
    for (const [name, offset, size, plainSize] of expected) {
      const entry = entryOf(name);
      if (entry === undefined) findings.add("blob", where, `its table of contents lacks ${name}`);
      else if (entry.offset !== offset || entry.size !== size || entry.uncompressedSize !== plainSize) {
        findings.add(
          "blob",
          where,
          `${name} has ${entry.uncompressedSize} bytes, stored in ${entry.size} at ${entry.offset}; ` +
            `the bootstrap says ${plainSize}, stored in ${size} at ${offset}`,
        );
      }
    }
  }
  for (const entry of entries) {
    // this section consists of the chunks, which have their own digests
    if (entry.name === SECTION.blob) continue;
    const wrong = await wrongDigest(entry, read, isEncrypted(entry) ? blob.cipher : undefined);
    if (wrong !== undefined) findings.add("blob", where, `${entry.name}: ${wrong}`);
  }
}

/** In an encrypted blob only the chunk table and its header are encrypted, besides the chunks. */
function isEncrypted({ name }: TocEntry): boolean {
  return name === SECTION.meta || name === SECTION.metaHeader;
}

async function wrongDigest(
  entry: TocEntry,
  read: ReadRange,
  cipher: BlobCipher | undefined,
): Promise<string | undefined> {
  const { compressor, digest, offset, size, uncompressedSize } = entry;
  if (digest.every((byte) => byte === 0)) return undefined;
  if (uncompressedSize > MAX_BOOTSTRAP) return `it has ${uncompressedSize} bytes, expected ${MAX_BOOTSTRAP} at most`;
  const bytes = await read(offset, size);
  const stored = cipher === undefined ? bytes : decryptXts(cipher, bytes);
  let plain = stored;
  if (compressor !== "none") {
    plain = new Uint8Array(uncompressedSize);
    decompressInto(compressor, stored, plain);
  }
  const actual = createHash("sha256").update(plain).digest();
  return equalBytes(actual, digest) ? undefined : `sha256 is ${actual.toString("hex")}, expected ${digest.toHex()}`;
}

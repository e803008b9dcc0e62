/**
 * Tables of images whose data remain in a gzip layer, intact and damaged.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import {
  decompress,
  fixtureOf,
  RAFS_FIXTURES,
  readFixtureBootstrap,
} from "../../../tests/support/rafs/rafs_fixtures.ts";
import { blobMetaRange, parseBlobMeta, splitBlobMeta } from "./blob_meta.ts";
import { type BlobDescriptor, RafsError } from "../bootstrap.ts";
import { CI } from "./blob_layout.ts";
import { type ChunkColumns, NO_BATCH } from "./chunk_table.ts";
import { openBootstrap } from "../open.ts";

const fixture = fixtureOf("v6-zran");
const [blob = assert.fail("no blob")] = openBootstrap(await readFixtureBootstrap(fixture)).blobs;
const meta = blob.meta ?? assert.fail("no compression info");
const { offset, length } = blobMetaRange(meta);
const stored = await Deno.readFile(join(RAFS_FIXTURES, "blobs", blob.metaBlobId ?? assert.fail("no meta blob")));
const { ci: packed, header } = splitBlobMeta(stored.subarray(offset, offset + length), meta);
const ci = decompress(meta.compressor, packed, meta.uncompressedSize);
const contextsAt = blob.chunkCount * CI.V2_SIZE;

/** Checks the invariants of every accepted table. */
function requireBounds({ count, ...columns }: ChunkColumns, { compressedSize }: BlobDescriptor): void {
  const starts = columns.gzipStarts ?? assert.fail("no starts");
  for (let row = 0; row < count; row++) {
    const batch = columns.batch[row] as number;
    assert.ok((columns.compressedOffset[row] as number) + (columns.compressedSize[row] as number) <= compressedSize);
    if (batch === NO_BATCH) continue;
    const end = (columns.batchOffset[row] as number) + (columns.uncompressedSize[row] as number);
    assert.ok(end <= (columns.batchUncompressedSize[batch] as number));
    assert.ok((starts.windowOffset[batch] as number) + (starts.windowSize[batch] as number) <= starts.windows.length);
    assert.ok(
      (starts.bits[batch] as number) < 8 && (starts.bitValue[batch] as number) < 2 ** (starts.bits[batch] ?? 0),
    );
  }
}

Deno.test("chunks in a gzip layer are parts of slices, the first of which begins after the gzip header", () => {
  const columns = parseBlobMeta(blob, ci, header);
  requireBounds(columns, blob);
  assert.ok(columns.batchUncompressedSize.length > 1, "one slice only");
  assert.equal(columns.compressedOffset[0], 10);
  assert.equal(columns.gzipStarts?.windowSize[0], 0);
  assert.equal(columns.gzipStarts?.windowSize[1], CI.DICTIONARY_SIZE);
});

Deno.test("an impossible context is refused with the reason", () => {
  const cases: readonly (readonly [at: number, value: number, message: RegExp])[] = [
    [contextsAt + 24, 0, /0 bytes of layer \w+ inflate to \d+$/],
    [contextsAt + 28, 0xffff_ffff, /inflate to 4294967295$/],
    [contextsAt + 28, 1, /it ends beyond the bytes of context 0$/],
    [contextsAt + 32, 40_000, /its window of 40000 bytes at \d+ is not in the blob meta$/],
    [contextsAt + 16, 0x7fff_ffff, /its window of \d+ bytes at 2147483647 is not in the blob meta$|beyond/],
    [contextsAt + 36, 0x0800, /it begins with 8 bits of a byte$/],
    [contextsAt + 4, 1, /stored bytes at \d+, chunk data end at/],
    [20, 0xffff, /context is 65535, the blob has \d+$/],
    [7, 4 << 24, /flags 4 refer to a context, the blob has no contexts of that kind$/],
  ];
  for (const [at, value, message] of cases) {
    const damaged = ci.slice();
    const view = new DataView(damaged.buffer);
    if (at === 7) view.setUint8(7, 4);
    else view.setUint32(at, value, true);
    assert.throws(() => parseBlobMeta(blob, damaged, header), (error) => {
      assert.ok(error instanceof RafsError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("tables with any changed byte are refused or stay within their bounds", () => {
  const last = contextsAt + 3 * CI.CONTEXT_SIZE;
  fc.assert(
    fc.property(fc.nat(last), fc.nat(255), (at, value) => {
      const damaged = ci.slice();
      damaged[at] = value;
      try {
        requireBounds(parseBlobMeta(blob, damaged, header), blob);
      } catch (error) {
        if (!(error instanceof RafsError)) throw error;
      }
    }),
    { numRuns: 400 },
  );
});

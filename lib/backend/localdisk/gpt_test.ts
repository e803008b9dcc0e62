import assert from "node:assert/strict";
import fc from "fast-check";
import { goldenBytes } from "../../../tests/support/golden_bytes.ts";
import { gptImage, partitionOfBlob } from "../../../tests/support/backend/gpt_image.ts";
import { BASIC_DATA, GptError, parseGptEntries, parseGptHeader } from "./gpt.ts";

/** Written by sfdisk of util-linux 2.38.1 on a disk of 2048 sectors. */
const HEADER = goldenBytes(`
  45 46 49 20 50 41 52 54  signature: EFI PART
  00 00 01 00              revision: 1.0
  5c 00 00 00              header size: 92
  48 4c 50 2b              header CRC
  00 00 00 00              reserved
  01 00 00 00 00 00 00 00  my LBA: 1
  ff 07 00 00 00 00 00 00  alternate LBA: 2047
  22 00 00 00 00 00 00 00  first usable LBA: 34
  de 07 00 00 00 00 00 00  last usable LBA: 2014
  44 33 22 11 66 55 88 77 99 aa bb cc dd ee ff 00  disk GUID: 11223344-5566-7788-99AA-BBCCDDEEFF00
  02 00 00 00 00 00 00 00  entries LBA: 2
  80 00 00 00              number of entries: 128
  80 00 00 00              size of an entry: 128
  9a c1 b7 bb              entries CRC
`);
const ENTRIES = new Uint8Array(128 * 128);
ENTRIES.set(goldenBytes(`
  af 3d c6 0f 83 84 72 47 8e 79 3d 69 d8 47 7d e4  type: 0FC63DAF-8483-4772-8E79-3D69D8477DE4
  44 a4 bc 2a ad 98 49 15 1a cb e5 8c 83 ac b6 6f  GUID: 2ABCA444-98AD-1549-1ACB-E58C83ACB66F
  28 00 00 00 00 00 00 00  first LBA: 40
  37 00 00 00 00 00 00 00  last LBA: 55
  00 00 00 00 00 00 00 00  attributes
  35 00 30 00 61 00 64 00 33 00 63 00 38 00 32 00  name: 50ad3c82
  34 00 33 00 65 00 30 00 61 00 30 00 38 00 65 00  43e0a08e
  63 00 64 00 65 00 62 00 64 00 65 00 30 00 65 00  cdebde0e
  66 00 38 00 61 00 66 00 63 00 63 00 36 00 66 00  f8afcc6f
  00 00 00 00 00 00 00 00  end of the name
  a2 a0 d0 eb e5 b9 33 44 87 c0 68 b6 b7 26 99 c7  type: EBD0A0A2-B9E5-4433-87C0-68B6B72699C7
  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  GUID: 00000000-0000-0000-0000-000000000001
  40 00 00 00 00 00 00 00  first LBA: 64
  47 00 00 00 00 00 00 00  last LBA: 71
  00 00 00 00 00 00 00 00  attributes
  62 00 65 00 37 00 64 00 37 00 37 00 65 00 65 00  name: be7d77ee
  62 00 37 00 31 00 39 00 66 00 37 00 30 00 38 00  b719f708
  38 00 34 00 37 00 35 00 38 00 64 00 31 00 61 00  84758d1a
  61 00 38 00 30 00 30 00 65 00 64 00 30 00 66 00  a800ed0f
  00 00 00 00 00 00 00 00  end of the name
`));

/** A sector that holds `header`. */
function sector(header: Uint8Array, size = 512): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(header);
  return bytes;
}

Deno.test("header and entries written by sfdisk are parsed", () => {
  const header = parseGptHeader(sector(HEADER), 1);
  assert.deepEqual(header, {
    myLba: 1,
    alternateLba: 2047,
    entriesLba: 2,
    entryCount: 128,
    entrySizeBytes: 128,
    entriesCrc: 0xbbb7c19a,
  });
  assert.deepEqual(parseGptEntries(header, ENTRIES, 512), [
    {
      number: 1,
      typeGuid: "0fc63daf848347728e793d69d8477de4",
      guid: "2abca44498ad15491acbe58c83acb66f",
      name: "50ad3c8243e0a08ecdebde0ef8afcc6f",
      offsetBytes: 20480,
      sizeBytes: 8192,
    },
    {
      number: 2,
      typeGuid: BASIC_DATA,
      guid: "00000000000000000000000000000001",
      name: "be7d77eeb719f70884758d1aa800ed0f",
      offsetBytes: 32768,
      sizeBytes: 4096,
    },
  ]);
});

Deno.test("one wrong byte anywhere in header or entries is detected", () => {
  const header = parseGptHeader(sector(HEADER), 1);
  fc.assert(
    fc.property(fc.nat(HEADER.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const damaged = HEADER.slice();
      damaged[at] = (damaged[at] ?? 0) ^ change;
      assert.throws(() => parseGptHeader(sector(damaged), 1), GptError);
    }),
  );
  fc.assert(
    fc.property(fc.nat(ENTRIES.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const damaged = ENTRIES.slice();
      damaged[at] = (damaged[at] ?? 0) ^ change;
      assert.throws(() => parseGptEntries(header, damaged, 512), /^GptError: the entries' checksum is wrong$/);
    }),
    { numRuns: 20 },
  );
});

Deno.test("arbitrary bytes after the signature are an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 504, maxLength: 504 }), (bytes) => {
      assert.throws(() => parseGptHeader(sector(Uint8Array.of(...HEADER.subarray(0, 8), ...bytes)), 1), GptError);
    }),
  );
  assert.throws(() => parseGptHeader(new Uint8Array(512), 1), /there is no GPT header/);
});

Deno.test("a partition table with impossible values is refused by name", () => {
  const id = "ab".repeat(32);
  const disk = (more: Partial<Parameters<typeof gptImage>[0]>, place = {}) =>
    gptImage({
      sectors: 4096,
      partitions: [{ ...partitionOfBlob(id), firstLba: 1000, lastLba: 1001, ...place }],
      ...more,
    });
  const head = (bytes: Uint8Array) => bytes.subarray(512, 1024);
  assert.throws(() => parseGptHeader(head(disk({ entryCount: 1025 })), 1), /it has 1025 entries, more than 1024/);
  assert.throws(
    () => parseGptHeader(head(disk({ entryCount: 16, entrySizeBytes: 8192 })), 1),
    /entries have 8192 bytes/,
  );
  assert.throws(() => parseGptHeader(head(disk({})), 2), /the header is for sector 1/);
  const partition = (place: { firstLba: number; lastLba: number }) => {
    const bytes = disk({}, place);
    return () => parseGptEntries(parseGptHeader(head(bytes), 1), bytes.subarray(1024, 1024 + 128 * 128), 512);
  };
  assert.throws(partition({ firstLba: 1000, lastLba: 999 }), /partition 1 is from sector 1000 to 999/);
  assert.throws(partition({ firstLba: 1, lastLba: 2 ** 50 }), /partition 1 is from sector 1 to/);
  assert.throws(partition({ firstLba: 1, lastLba: 2 ** 60 }), /beyond every disk/);
  assert.equal(partition({ firstLba: 1000, lastLba: 1000 })()[0]?.sizeBytes, 512);
});

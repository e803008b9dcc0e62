import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { VERIFIED, VerifiedDigests, type VerifiedSubject } from "./verified.ts";

const SUBJECT: VerifiedSubject = {
  digester: "blake3",
  count: 5,
  data: { inode: 7n, bornMs: 1234567890123n },
  changedNs: 99n,
};

/** Digests 1111…, 2222…, …; 0 stands for unknown. */
function digests(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.flatMap((value) => Array<number>(32).fill(value)));
}

async function withFile(test: (path: string) => Promise<void>): Promise<void> {
  using dir = TempDir.make();
  await test(dir.join("x.blob.verified"));
}

Deno.test("a recorded digest matches itself only, zeros match nothing", () =>
  withFile(async (path) => {
    {
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual([...file.matching(digests(0, 0, 0, 0, 0))], []);
      file.record([0, 1, 3], digests(1, 2, 3, 4, 5));
      await file.sync();
    }
    using file = await VerifiedDigests.open(path, SUBJECT);
    assert.deepEqual([...file.matching(digests(1, 2, 3, 4, 5))], [0, 1, 3]);
    assert.deepEqual([...file.matching(digests(1, 9, 0, 4, 0))], [0, 3]);
    assert.equal(Deno.statSync(path).size, VERIFIED.HEADER_SIZE + 5 * 32);
  }));

const others: [string, VerifiedSubject][] = [
  ["the digester", { ...SUBJECT, digester: "sha256" }],
  ["the number of chunks", { ...SUBJECT, count: 6 }],
  ["the data file's inode", { ...SUBJECT, data: { inode: 8n, bornMs: 1234567890123n } }],
  ["the time the data file was changed", { ...SUBJECT, changedNs: 100n }],
  ["the data file's birth", { ...SUBJECT, data: { inode: 7n, bornMs: 1234567890124n } }],
];
for (const [what, other] of others) {
  Deno.test(`when ${what} is another, nothing counts as verified, then or later`, () =>
    withFile(async (path) => {
      const expected = digests(1, 2, 3, 4, 5, 6).subarray(0, other.count * 32);
      {
        using file = await VerifiedDigests.open(path, SUBJECT);
        file.record([0, 1, 2, 3, 4], expected);
      }
      {
        using file = await VerifiedDigests.open(path, other);
        assert.deepEqual([...file.matching(expected)], []);
      }
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual([...file.matching(expected.subarray(0, 5 * 32))], []);
    }));
}

Deno.test("a damaged file starts anew", () =>
  withFile(async (path) => {
    for (const damage of [new Uint8Array(3), new Uint8Array(VERIFIED.HEADER_SIZE + 5 * 32).fill(1)]) {
      Deno.writeFileSync(path, damage);
      using file = await VerifiedDigests.open(path, SUBJECT);
      assert.deepEqual([...file.matching(digests(1, 1, 1, 1, 1))], []);
    }
  }));

Deno.test("after a seal what was recorded counts for the data file as it was then", () =>
  withFile(async (path) => {
    {
      using file = await VerifiedDigests.open(path, SUBJECT);
      file.record([2], digests(1, 2, 3, 4, 5));
      assert.equal(file.seal(-5n), true);
      assert.equal(file.seal(-5n), false);
    }
    {
      using file = await VerifiedDigests.open(path, { ...SUBJECT, changedNs: -5n });
      assert.deepEqual([...file.matching(digests(1, 2, 3, 4, 5))], [2]);
    }
    using file = await VerifiedDigests.open(path, SUBJECT);
    assert.deepEqual([...file.matching(digests(1, 2, 3, 4, 5))], []);
  }));

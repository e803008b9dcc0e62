import assert from "node:assert/strict";
import { fixtureOf, readFixtureBootstrap } from "../../../../tests/support/rafs/rafs_fixtures.ts";
import { toByteString } from "../../../base/bytes.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import { ChunkDictionary } from "./chunk_dictionary.ts";

/** How many chunks of a fixture a dictionary of it offers, and how many it has. */
async function offered(name: string): Promise<[number, number]> {
  const bootstrap = openBootstrap(await readFixtureBootstrap(fixtureOf(name)));
  const { chunkSize, blobs: [blob] } = bootstrap;
  const { digester } = blob ?? assert.fail();
  const options = { fsVersion: 5, compressor: "lz4_block", level: 3, digester, chunkSize, batchSize: 0 } as const;
  const dictionary = new ChunkDictionary([bootstrap], options);
  const digests = new Set([...bootstrap.chunkRecords()].map(({ digest }) => toByteString(digest)));
  return [[...digests].filter((digest) => dictionary.find(digest) !== undefined).length, digests.size];
}

Deno.test("a dictionary offers the chunks of an image, but not those that the image does not count", async () => {
  const [all, count] = await offered("v5-lz4-sha256-64k");
  assert.equal(all, count);
  assert.equal((await offered("v5-1.0-unnumbered"))[0], 0);
});

import assert from "node:assert/strict";
import { fixtureOf, listRafsFixtures, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { spoilInodeDigest } from "../../../tests/support/damage/wrong_inode_digest.ts";
import { hasCode } from "../../base/errors.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { checkInodeDigests } from "./inode_digests.ts";

for (const each of listRafsFixtures().filter(({ name }) => name.startsWith("v5-"))) {
  Deno.test(`${each.name}: every file has the digest of its chunks`, async () => {
    await checkInodeDigests(openBootstrap(await readFixtureBootstrap(each)));
  });
}

Deno.test("a file whose chunks do not match its digest is refused by name", async () => {
  const bytes = await readFixtureBootstrap(fixtureOf("v5-none-sha256-4k"));
  spoilInodeDigest(bytes);
  const refused = (error: unknown) =>
    hasCode(error, "invalid-image") &&
    /^Cannot read RAFS v5 inode \d+: the digest of "\/.+" is not/.test(error.message);
  await assert.rejects(checkInodeDigests(openBootstrap(bytes)), refused);
});

Deno.test("v6 has no file digests: its chunks are verified in any case", async () => {
  await checkInodeDigests(openBootstrap(await readFixtureBootstrap(fixtureOf("v6-none-sha256-4k"))));
});

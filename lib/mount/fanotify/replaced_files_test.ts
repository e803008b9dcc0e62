import assert from "node:assert/strict";
import { type NamedFile, replacements } from "./replaced_files.ts";

const OF_IMAGE = 1n, OF_UNMOUNTED_IMAGE = 2n, FORMER = 3n;

function fileOf(inode: bigint, isComplete: boolean): NamedFile {
  return { inode, isComplete: () => isComplete };
}

Deno.test("an incomplete file without a mark replaces another if a mark is on a file without a name", () => {
  const isReplaced = replacements([FORMER], [OF_IMAGE]);
  assert.deepEqual([isReplaced([fileOf(OF_IMAGE, false)]), isReplaced([fileOf(OF_IMAGE, true)])], [true, false]);
});

Deno.test("a file with a mark replaces none", () => {
  assert.equal(replacements([OF_IMAGE, FORMER], [OF_IMAGE])([fileOf(OF_IMAGE, false)]), false);
});

Deno.test("a file to be verified again replaces none, though an image was unmounted while no server ran", () => {
  const isReplaced = replacements([OF_UNMOUNTED_IMAGE], [OF_IMAGE, OF_UNMOUNTED_IMAGE]);
  assert.equal(isReplaced([fileOf(OF_IMAGE, false)]), false);
});

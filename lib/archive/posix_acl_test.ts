import { deepEqual } from "node:assert/strict";
import { aclOfMode } from "./posix_acl.ts";

const acl = (...entries: [tag: number, permissions: number][]) =>
  Uint8Array.from([
    2,
    0,
    0,
    0,
    ...entries.flatMap(([tag, permissions]) => [tag, 0, permissions, 0, 255, 255, 255, 255]),
  ]);

Deno.test("an ACL follows the mode as with chmod: owner, mask or else group, and others", () => {
  deepEqual(
    aclOfMode(acl([1, 7], [2, 7], [4, 7], [8, 7], [16, 7], [32, 7]), 0o6640),
    acl([1, 6], [2, 7], [4, 7], [8, 7], [16, 4], [32, 0]),
  );
  deepEqual(aclOfMode(acl([1, 0], [4, 0], [32, 0]), 0o751), acl([1, 7], [4, 5], [32, 1]));
});

Deno.test("an ACL of another version or length is left as it is", () => {
  const other = acl([1, 7], [4, 7], [32, 7]);
  other[0] = 3;
  for (const damaged of [other, acl([1, 7]).subarray(0, 11), new Uint8Array(), Uint8Array.of(2, 0, 0)]) {
    deepEqual(aclOfMode(damaged, 0), damaged.slice());
  }
});

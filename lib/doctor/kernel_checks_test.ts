import assert from "node:assert/strict";
import { isAtLeast, pagesOf } from "./kernel_checks.ts";

Deno.test("kernel releases are compared by number, ignoring suffixes", () => {
  const cases: [release: string, isNew: boolean][] = [
    ["5.10.0", true],
    ["5.10.0-28-amd64", true],
    ["5.9.16", false],
    ["5.4.0-150-generic", false],
    ["6.1.0-18-amd64", true],
    ["4.19.0", false],
    ["10.0", true],
    ["odd", false],
  ];
  for (const [release, isNew] of cases) assert.equal(isAtLeast(release, [5, 10]), isNew, release);
});

Deno.test("pages of an unusual size are named", () => {
  assert.deepEqual([4096, 16384, 65536].map(pagesOf), ["", ", pages of 16 KiB", ", pages of 64 KiB"]);
});

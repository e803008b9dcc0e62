import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { HeldPages } from "./held_pages.ts";

/** Kilobytes that this process has mapped from `path` and locked. */
function lockedKilobytes(path: string): number {
  const areas = Deno.readTextFileSync("/proc/self/smaps").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const own = areas.filter((area) => area.split("\n", 1)[0]?.endsWith(` ${path}`));
  return own.reduce((sum, area) => sum + Number(area.match(/^Locked: +(\d+) kB$/m)?.[1]), 0);
}

Deno.test("pages that are held are locked, whole ones, until they are released", () => {
  using temp = TempDir.make();
  const path = temp.join("data");
  Deno.writeFileSync(path, new Uint8Array(64 * 1024).fill(7));
  using file = open(path, O.RDONLY);
  {
    using pages = new HeldPages();
    pages.hold(file, 5000, 4000); // of the second and the third page
    pages.hold(file, 16_384, 4096);
    assert.equal(lockedKilobytes(path), 12);
  }
  assert.equal(lockedKilobytes(path), 0);
});

import { equal, throws } from "node:assert/strict";
import { isAtLeast } from "../../lib/doctor/kernel_checks.ts";
import {
  mountOverlay,
  type OverlayMethod,
  unmountAll,
  unmountAllOffThread,
  unmountAllServed,
} from "../../lib/layer/overlay/overlay_mount.ts";
import { mountCount } from "../../ffi/mountinfo.ts";
import { mountingTest as test } from "../support/mount/unmount_below.ts";

/** A folder with `count` lower layers of one file each, and an upper one. */
function stackIn(folder: string, count: number) {
  const lowers = Array.from({ length: count }, (_, i) => `${folder}/lower${i}`);
  for (const [i, lower] of lowers.entries()) {
    Deno.mkdirSync(lower, { recursive: true });
    Deno.writeTextFileSync(`${lower}/f${i}`, "");
    Deno.writeTextFileSync(`${lower}/topmost`, `${i}`);
  }
  for (const name of ["diff", "work", "merged"]) Deno.mkdirSync(`${folder}/${name}`);
  return { lowers, upper: { diff: `${folder}/diff`, work: `${folder}/work` } };
}

/** "context" needs Linux 6.7. */
const hasContext = isAtLeast(Deno.osRelease(), [6, 7]);
const METHODS: OverlayMethod[] = hasContext ? ["options", "context", "descriptors"] : ["options", "descriptors"];

for (const method of METHODS) {
  test(`by ${method}: folders of any name, a few layers and many`, (dir) => {
    for (
      const name of ["plain", "with:colon", "back\\slash", "comma,and:colon\\", 'quote"and space', "ä".repeat(100)]
    ) {
      for (const count of method === "options" ? [1, 5] : [1, 5, 200]) {
        const folder = `${dir}/${name}/${count}`;
        const stack = stackIn(folder, count);
        equal(mountOverlay(stack, `${folder}/merged`, [method]), method);
        equal([...Deno.readDirSync(`${folder}/merged`)].length, count + 1, name);
        equal(Deno.readTextFileSync(`${folder}/merged/topmost`), "0");
        Deno.writeTextFileSync(`${folder}/merged/written`, "");
        equal(Deno.statSync(`${folder}/diff/written`).isFile, true);
        unmountAll(`${folder}/merged`);
        equal(mountCount(`${folder}/merged`), 0);
      }
    }
  });
}

test("without an upper layer the overlay is read-only", (dir) => {
  const { lowers } = stackIn(dir, 2);
  mountOverlay({ lowers }, `${dir}/merged`);
  throws(() => Deno.writeTextFileSync(`${dir}/merged/written`, ""), /EROFS|read-only/i);
});

for (const unmounting of [unmountAll, unmountAllOffThread, unmountAllServed]) {
  test(`all mounts stacked on one point are unmounted by ${unmounting.name}, and an unmounted point is no error`, async (dir) => {
    const stack = stackIn(dir, 2);
    mountOverlay({ lowers: stack.lowers }, `${dir}/merged`);
    mountOverlay({ lowers: stack.lowers.toReversed() }, `${dir}/merged`);
    equal(mountCount(`${dir}/merged`), 2);
    await unmounting(`${dir}/merged`);
    equal(mountCount(`${dir}/merged`), 0);
    await unmounting(`${dir}/merged`);
    await unmounting(`${dir}/no/such/place`);
  });
}

test("a refusal of the kernel is an error, not a silent fallback", (dir) => {
  const { upper } = stackIn(dir, 1);
  throws(
    () => mountOverlay({ lowers: [`${dir}/missing`], upper }, `${dir}/merged`),
    { name: "SyscallError", code: "ENOENT" },
  );
});

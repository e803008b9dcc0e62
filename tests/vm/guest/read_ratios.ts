/**
 * Measures reads through erofs-fscache and FUSE, relative to plain EROFS on the same data:
 *
 * ```
 * deno run -A tests/support/vm/try.ts --run tests/vm/guest/read_ratios.ts
 * ```
 * Absolute figures of an emulated machine mean nothing, so it prints ratios. "first" is the first read of everything, with
 * chunks fetched from a local folder; for "cold" they are cached, and the kernel's page cache is dropped.
 *
 * @module
 */
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import type { FsDriver } from "../../../lib/mount/data_path.ts";
import { mountAlone } from "../../bench/erofs_row.ts";
import { folderBackend, mountNydusGd } from "../../bench/mounts.ts";
import { median } from "../../bench/report.ts";
import { MEASURE_NAMES, TreeBench } from "../../bench/tree_bench.ts";
import { buildFrom } from "../../support/rafs/built_rafs.ts";
import { EXECUTABLE } from "../../support/process/program.ts";
import { dir, file, tarOf } from "../../support/archive/tar_builder.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { knownBytes } from "../../support/mount/verifying_reader.ts";

const FS_DRIVERS: readonly FsDriver[] = ["erofs-fscache", "fuse"];
const ALONE = "EROFS alone";
const RUNS = 3;
/** How long a warm measure takes. */
const SECONDS = 1;
const FOLDERS = 20;
const SMALL = { count: 30, sizeBytes: 12_000 } as const;
const LARGE = { count: 8, sizeBytes: 4 << 20 } as const;

/** Writes `image.boot` and `blobs/` below `folder`. */
async function makeImage(folder: string): Promise<void> {
  const small = Array.from({ length: FOLDERS }, (_, f) => [
    dir(`d${f}`),
    ...Array.from(
      { length: SMALL.count },
      (_, n) => file(`d${f}/${n}`, knownBytes(f * SMALL.count + n, SMALL.sizeBytes)),
    ),
  ]);
  const large = Array.from({ length: LARGE.count }, (_, n) => file(`large${n}`, knownBytes(n, LARGE.sizeBytes)));
  const { bytes, blob, blobId } = await buildFrom(tarOf(...small.flat(), ...large), {}, 1 << 20);
  await Deno.mkdir(`${folder}/blobs`);
  await Deno.writeFile(`${folder}/blobs/${blobId}`, blob);
  await Deno.writeFile(`${folder}/image.boot`, bytes);
}

using temp = TempDir.make();
await makeImage(temp.path);
if (EXECUTABLE === undefined) throw new Error("Cannot measure: NYDUS_GD_TEST_PROGRAM names no executable");
const program = EXECUTABLE;
const bootstrap = temp.join("image.boot"), backend = folderBackend(temp.join("blobs"));
await using mounts = new AsyncDisposableStack();
const roots = new Map<string, string>();
for (const fsDriver of FS_DRIVERS) {
  const mount = mounts.use(await mountNydusGd({ program, bootstrap, backend, fsDriver, dir: temp.join(fsDriver) }));
  roots.set(fsDriver, mount.path);
}
const [fscache = ""] = roots.values();
const bench = await TreeBench.make(fscache, temp.join("lists"));
const first = new Map<string, number>();
for (const [name, root] of roots) {
  const startedAt = performance.now();
  await bench.readAll(root);
  first.set(name, 1 / (performance.now() - startedAt));
}
await mountAlone(bootstrap, temp.join("fuse/cache"), temp.join("alone"));
mounts.defer(() => umount2(temp.join("alone"), MNT.DETACH));
roots.set(ALONE, temp.join("alone"));

console.log(["", ...roots.keys()].join(" | "));
console.log(["first, to fuse", ...FS_DRIVERS.map((name) => ratio(first.get(name), first.get("fuse")))].join(" | "));
for (const temperature of ["warm", "cold"] as const) {
  for (const measure of MEASURE_NAMES) {
    const figures = new Map<string, number[]>(roots.keys().map((name) => [name, []]));
    for (let run = 0; run < RUNS; run++) {
      for (const [name, root] of roots) {
        figures.get(name)?.push(await bench.measure(measure, temperature, SECONDS, root));
      }
    }
    const medians = new Map(figures.entries().map(([name, values]) => [name, median(values)]));
    const ratios = Array.from(medians.values(), (value) => ratio(value, medians.get(ALONE)));
    console.log([`${temperature} ${measure}`, ...ratios].join(" | "));
  }
}

function ratio(value = NaN, to = NaN): string {
  return (value / to).toFixed(2);
}

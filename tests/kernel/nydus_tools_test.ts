/**
 * Our images and caches used by the reference tools nydus-image and nydusd, if they are on the PATH.
 *
 * The results are in docs/interoperability.md; `PATH=FOLDER_OF_THE_TOOLS:$PATH sh scripts/test.sh kernel` reproduces
 * them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mount, MS, umount2 } from "../../ffi/sys_mount.ts";
import { locateImage } from "../../lib/image/source/locate_image.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { folderBackend, mountNydusd } from "../bench/mounts.ts";
import { output, versionOf } from "../bench/programs.ts";
import { run } from "../support/process/command.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import type { ListedEntry } from "../support/rafs/rafs_fixtures.ts";
import { makeSampleTree } from "../support/archive/sample_tree.ts";
import { anonymousAccess } from "../support/image/source_access.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree, walkInChild } from "../support/mount/tree_walk.ts";

const tools = await Promise.all(["nydus-image", "nydusd"].map(versionOf));
const ignore = tools.includes(undefined);
console.log(ignore ? "skipped: nydus-image and nydusd are not on the PATH" : tools.join("\n"));

const OPTIONS: readonly (readonly string[])[] = [
  [],
  ["--batch-size", "0", "--digester", "blake3"],
  ["--compressor", "lz4_block", "--chunk-size", "16MiB", "--batch-size", "0"],
  ["--compressor", "none", "--chunk-size", "4KiB", "--batch-size", "0"],
  ["--fs-version", "5"],
  ["--fs-version", "5", "--compressor", "lz4_block", "--digester", "blake3", "--chunk-size", "64KiB"],
  ["--fs-version", "5", "--compressor", "none", "--chunk-size", "4KiB"],
  ["--optimize-run", "busybox cat /read/*"], // batches larger than a chunk
];

/** An image of `tree`, and its path. */
interface Made {
  readonly image: string;
  readonly bootstrap: string;
  readonly blobDir: string;
}

async function make(temp: TempDir, options: readonly string[]): Promise<Made> {
  const dir = temp.join(crypto.randomUUID());
  const image = `oci:${dir}:1`;
  const args = ["convert", `dir:${temp.join("tree")}`, image, "--work-dir", temp.join("work"), "-o", "json"];
  const { code, stderr } = await run([...args, ...options]);
  assert.equal(code, 0, stderr);
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const folder = temp.join(`boot-${crypto.randomUUID()}`);
  await Deno.mkdir(folder);
  const { source } = await locateImage({ what: image }, anonymousAccess(http, folder), AbortSignal.timeout(30_000));
  return { image, bootstrap: source, blobDir: `${dir}/blobs/sha256` };
}

/** nydusd's root has its own attributes: its start time, and a mode of at least 0755. */
function comparable(entries: readonly ListedEntry[]): Omit<ListedEntry, "mtime" | "mtime_nsec">[] {
  return entries.map(({ mtime, mtime_nsec, ...entry }) =>
    entry.path === "/" ? { ...entry, mode: "0755" } : { ...entry, mtime, mtime_nsec }
  );
}

/** A tree in a temporary folder, and its listing. It can run busybox, and read files of one chunk and of several. */
function sample(temp: TempDir): ListedEntry[] {
  const tree = temp.join("tree");
  Deno.mkdirSync(tree);
  makeSampleTree(tree);
  for (const name of ["bin", "read"]) Deno.mkdirSync(`${tree}/${name}`);
  Deno.copyFileSync("/bin/busybox", `${tree}/bin/busybox`);
  Deno.symlinkSync("busybox", `${tree}/bin/sh`);
  for (let k = 0; k < 30; k++) {
    Deno.writeTextFileSync(`${tree}/read/f${k}`, `${k} `.repeat(k % 10 === 0 ? 300_000 : 30_000));
  }
  return listTree(tree);
}

async function nydusdShows(dir: string, bootstrap: string, blobDir: string): Promise<ListedEntry[]> {
  await using mounted = await mountNydusd({ program: "", bootstrap, backend: folderBackend(blobDir), dir });
  return await walkInChild(mounted.path, AbortSignal.timeout(60_000));
}

/** A folder with files of zeros, of the names and sizes in `blobDir`: nydusd requires them to exist. */
async function zerosLike(blobDir: string, folder: string): Promise<string> {
  await Deno.mkdir(folder);
  for await (const { name } of Deno.readDir(blobDir)) {
    await Deno.writeFile(`${folder}/${name}`, new Uint8Array());
    await Deno.truncate(`${folder}/${name}`, (await Deno.stat(`${blobDir}/${name}`)).size);
  }
  return folder;
}

function toolTest(name: string, body: () => Promise<void>): void {
  if (ignore) Deno.test({ name, ignore, fn: body });
  else fuseTest(name, body);
}

toolTest("nydus-image accepts our images, and nydusd shows them with every byte and attribute", async () => {
  using temp = TempDir.make();
  const expected = comparable(sample(temp));
  for (const options of OPTIONS) {
    const { bootstrap, blobDir } = await make(temp, options);
    await output("nydus-image", ["check", "--log-level", "error", "--bootstrap", bootstrap]);
    const dir = temp.join(`nydusd-${crypto.randomUUID()}`);
    assert.deepEqual(comparable(await nydusdShows(dir, bootstrap, blobDir)), expected, options.join(" "));
  }
});

toolTest(
  "block devices that nydus-image exports from our images are mounted by the kernel, with data",
  async () => {
    using temp = TempDir.make();
    const expected = sample(temp);
    for (const options of OPTIONS.filter((words) => words.includes("--batch-size"))) {
      const { bootstrap, blobDir } = await make(temp, options);
      const [disk, at] = [temp.join("disk.img"), temp.join("mnt")];
      const args = ["--bootstrap", bootstrap, "--localfs-dir", blobDir, "--output", disk];
      await output("nydus-image", ["export", "--block", "--log-level", "error", ...args]);
      await Deno.mkdir(at, { recursive: true });
      mount(disk, at, "erofs", MS.RDONLY);
      try {
        assert.deepEqual(listTree(at), expected, options.join(" "));
      } finally {
        umount2(at, 0);
      }
      await Deno.remove(disk);
    }
  },
);

toolTest("nydusd takes over a cache that we filled, and reads no blob", async () => {
  using temp = TempDir.make();
  const expected = comparable(sample(temp));
  for (const options of OPTIONS) {
    const { image, bootstrap, blobDir } = await make(temp, options);
    const nowhere = await zerosLike(blobDir, temp.join(`zeros-${crypto.randomUUID()}`));
    const dir = temp.join(`nydusd-${crypto.randomUUID()}`);
    await Deno.mkdir(dir);
    const unpacked = await run(["unpack", image, `tar:${dir}/x.tar`, "--cache-dir", `${dir}/cache`]);
    assert.equal(unpacked.code, 0, unpacked.stderr);
    assert.deepEqual(comparable(await nydusdShows(dir, bootstrap, nowhere)), expected, options.join(" "));
  }
});

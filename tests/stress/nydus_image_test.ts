/**
 * Images that nydus-image makes of one folder with random options: every data path shows that folder.
 *
 * Skipped unless nydus-image, which no Debian package contains, is on the PATH. Images of a test are mounted at once
 * with one cache, grouped by common blobs. NYDUS_GD_IMAGES is their number: 10, and 100 in
 * `sh scripts/test.sh stress`; FUZZ_SEED selects them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { findBootstrap } from "../../lib/image/source/find_bootstrap.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import { output, versionOf } from "../bench/programs.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { Random } from "../support/fuzz/random.ts";
import { TestMounts } from "../support/mount/mounts_kit.ts";
import { makeSampleTree } from "../support/archive/sample_tree.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree, TreeWalker } from "../support/mount/tree_walk.ts";

const PROGRAM = "nydus-image";
const version = await versionOf(PROGRAM);
console.log(version ?? `skipped: ${PROGRAM} is not on the PATH`);

const IMAGES = Number(Deno.env.get("NYDUS_GD_IMAGES") ?? "10");
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? "1");
/** Chunk sizes in bytes. */
const CHUNK_SIZES = [4096, 8192, 65536, 262_144, 1 << 20, 16 << 20];
const WALK_MS = 120_000;

/** Sizes around those of chunks and of a cipher's block, and small files that are batched. */
function makeTree(root: string): void {
  makeSampleTree(root);
  for (const size of [0, 1, 15, 16, 17, 4095, 4096, 4097, 65535, 65536, 65537]) {
    Deno.writeFileSync(`${root}/${size}`, Uint8Array.from({ length: size }, (_, i) => (i * i + size) & 0xff));
  }
  Deno.mkdirSync(`${root}/many`);
  for (let i = 0; i < 100; i++) Deno.writeTextFileSync(`${root}/many/${i}`, `file ${i}\n`.repeat(i));
}

interface ImageOptions {
  readonly args: string[];
  readonly inline: boolean;
  /** Whether the chunks of a folder of the tree are those of another image. */
  readonly hasDictionary: boolean;
}

/** Option combinations that nydus-image accepts. */
function optionsOf(random: Random): ImageOptions {
  const fsVersion = random.pick(["5", "6"]);
  const chunkSize = random.pick(CHUNK_SIZES);
  const inline = random.oneIn(4);
  const args = ["--fs-version", fsVersion, "--chunk-size", String(chunkSize)];
  args.push(
    "--compressor",
    random.pick(["none", "lz4_block", "zstd"]),
    "--digester",
    random.pick(["blake3", "sha256"]),
  );
  if (random.oneIn(4)) args.push("--aligned-chunk");
  if (inline) args.push("--blob-inline-meta");
  if (fsVersion === "6") {
    if (random.oneIn(3)) args.push("--batch-size", String(Math.min(chunkSize, random.pick([4096, 65536, 1 << 20]))));
    if (random.oneIn(4)) args.push("--encrypt");
    if (random.oneIn(3)) args.push("--features", "blob-toc");
  }
  const hasDictionary = !inline && !args.includes("--batch-size") && !args.includes("--encrypt") && random.oneIn(2);
  return { args, inline, hasDictionary };
}

/** Makes image `k` of the folder `tree`. @returns the file with its bootstrap, and the command */
async function make(temp: TempDir, k: number): Promise<{ readonly source: string; readonly command: string }> {
  const { args, inline, hasDictionary } = optionsOf(new Random(SEED, k));
  const report = temp.join("report.json"), bootstrap = temp.join(`${k}.boot`), into = ["-D", temp.join("blobs")];
  if (hasDictionary) {
    const dictionary = temp.join(`${k}.dictionary`);
    await output(PROGRAM, ["create", ...args, ...into, "-B", dictionary, temp.join("tree/many")]);
    args.push("--chunk-dict", `bootstrap=${dictionary}`);
  }
  const all = ["create", ...args, ...into, "-J", report, ...(inline ? [] : ["-B", bootstrap])];
  await output(PROGRAM, [...all, temp.join("tree")]);
  const { blobs } = JSON.parse(await Deno.readTextFile(report)) as { blobs: string[] };
  return { source: inline ? temp.join(`blobs/${blobs.at(-1)}`) : bootstrap, command: `${PROGRAM} ${args.join(" ")}` };
}

for (const fsDriver of TESTED_DATA_PATHS) {
  Deno.test({
    name: `an image made with any options shows its source tree (${fsDriver})`,
    ignore: version === undefined || Deno.uid() !== 0,
    fn: async () => {
      await using kit = await TestMounts.start(fsDriver, true);
      const { temp, mounts } = kit;
      await using walker = new TreeWalker();
      await using cache = BlobCache.open(temp.join("cache"));
      await using stack = new AsyncDisposableStack();
      for (const name of ["tree", "blobs"]) await Deno.mkdir(temp.join(name));
      makeTree(temp.join("tree"));
      const made = listTree(temp.join("tree"));
      const expected = made.map((entry) => entry.path === "/" ? { ...entry, mtime: 0, mtime_nsec: 0 } : entry);
      const backend = LocalFsBackend.inFolder(temp.join("blobs"));
      for (let k = 1; k <= IMAGES; k++) {
        const { source, command } = await make(temp, k);
        const { path, container } = await findBootstrap(source, temp.join(`${k}.unpacked`), source);
        const bootstrap = MappedBootstrap.open(path);
        const image = OpenImage.open({ name: `image-${k}`, bootstrap, container, backend, cache });
        stack.use(image);
        const mount = await mounts.add(image, k);
        stack.defer(async () => {
          await mount[Symbol.asyncDispose]();
          await mount.released;
        });
        assert.deepEqual(await walker.walk(mount.path, WALK_MS), { entries: expected, failures: [] }, command);
      }
    },
  });
}

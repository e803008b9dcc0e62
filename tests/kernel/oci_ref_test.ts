/**
 * Images of `nydus-gd convert --oci-ref`: mounted on each data path, unpacked, compared with the original, and read by
 * nydusd and nydus-image if they are on the PATH.
 *
 * @module
 */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { concatenate } from "../../lib/base/bytes.ts";
import { locateImage } from "../../lib/image/source/locate_image.ts";
import { folderBackend, mountNydusd } from "../bench/mounts.ts";
import { output, versionOf } from "../bench/programs.ts";
import { fails, run, Server } from "../support/process/command.ts";
import { noise } from "../support/image/convert_kit.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import type { ListedEntry } from "../support/rafs/rafs_fixtures.ts";
import { makeSampleTree } from "../support/archive/sample_tree.ts";
import { anonymousAccess } from "../support/image/source_access.ts";
import { file, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree, walkInChild } from "../support/mount/tree_walk.ts";

const tools = await Promise.all(["nydus-image", "nydusd"].map(versionOf));
const hasTools = !tools.includes(undefined);
console.log(hasTools ? tools.join("\n") : "skipped: nydus-image and nydusd are not on the PATH");

const signal = () => AbortSignal.timeout(120_000);

/** gzip members that end where 512-byte records do, as in estargz, and elsewhere. */
function inMembers(tar: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < tar.length; at += bytes) parts.push(new Uint8Array(gzipSync(tar.subarray(at, at + bytes))));
  return concatenate(parts);
}

/** A source image of three gzip layers and one that is not, and an image that refers to them. */
async function makeImages(temp: TempDir, ...options: string[]): Promise<{ source: string; image: string }> {
  const tree = temp.join("tree");
  Deno.mkdirSync(tree);
  makeSampleTree(tree);
  Deno.writeFileSync(`${tree}/large`, noise(2_000_000));
  Deno.writeTextFileSync(`${tree}/text`, Array.from({ length: 400_000 }, (_, k) => `${k} `).join(""));
  const archive = temp.join("tree.tar");
  await output("tar", ["--format=posix", "--xattrs", "--xattrs-include=*", "-cf", archive, "--directory", tree, "."]);
  const lower = Deno.readFileSync(archive);
  const middle = tarOf(
    file("second/a", noise(900_000, 2)),
    file("second/b", "x".repeat(70_000)),
    file("gone", "1"),
  );
  const upper = tarOf(whiteout("gone"), file("third", noise(300_000, 3)));
  const layers = [
    { tar: lower },
    { tar: middle, stored: inMembers(middle, 512 * 20) },
    { tar: upper, stored: inMembers(upper, 9999) },
    { tar: tarOf(file("plain", "p".repeat(50_000))), compression: "zstd" as const },
  ];
  await writeLayout(temp.join("source"), { layers });
  const [source, image] = ["source", "image"].map((name) => `oci:${temp.join(name)}:1`) as [string, string];
  const args = ["convert", "--oci-ref", source, image, "--work-dir", temp.join("work"), "-o", "json"];
  const { code, stderr } = await run([...args, ...options]);
  assert.equal(code, 0, stderr);
  return { source, image };
}

/** The merged tree, as `convert` without --oci-ref has it. */
async function expectedTree(temp: TempDir, source: string): Promise<ListedEntry[]> {
  const image = `oci:${temp.join("whole")}:1`;
  const { code, stderr } = await run(["convert", source, image, "--work-dir", temp.join("work"), "-o", "json"]);
  assert.equal(code, 0, stderr);
  return await unpackedTree(temp, image);
}

async function unpackedTree(temp: TempDir, image: string): Promise<ListedEntry[]> {
  const folder = temp.join(crypto.randomUUID());
  const { code, stderr } = await run(["unpack", image, folder]);
  assert.equal(code, 0, stderr);
  return listTree(folder);
}

/** nydusd shows its start time for 1970, and a mode of at least 0755 for the root. */
function comparable(entries: readonly ListedEntry[], expected: readonly ListedEntry[]): object[] {
  const old = new Set(expected.filter(({ mtime }) => mtime === 0).map(({ path }) => path));
  return entries.map((entry) => ({
    ...entry,
    ...(entry.path === "/" ? { mode: "0755" } : {}),
    ...(old.has(entry.path) ? { mtime: 0, mtime_nsec: 0 } : {}),
  }));
}

async function requireNydusd(temp: TempDir, image: string, expected: readonly ListedEntry[]): Promise<void> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  await Deno.mkdir(temp.join("boot"));
  const { source } = await locateImage({ what: image }, anonymousAccess(http, temp.join("boot")), signal());
  await output("nydus-image", ["check", "--log-level", "error", "--bootstrap", source]);
  const backend = folderBackend(temp.join("image/blobs/sha256"));
  await using mounted = await mountNydusd({ program: "", bootstrap: source, backend, dir: temp.join("nydusd") });
  assert.deepEqual(comparable(await walkInChild(mounted.path, signal()), expected), comparable(expected, expected));
}

for (const options of [[], ["--chunk-size", "16MiB"], ["--chunk-size", "4KiB", "--digester", "sha256"]]) {
  fuseTest(
    `an image that refers to gzip layers has every byte and attribute of them (${options.join(" ")})`,
    async () => {
      using temp = TempDir.make();
      const { source, image } = await makeImages(temp, ...options);
      const expected = await expectedTree(temp, source);
      assert.ok(expected.length > 10);
      const against = await run(["check", "--blobs", image, "--against", source]);
      assert.equal(against.code, 0, against.stdout + against.stderr);
      assert.deepEqual(await unpackedTree(temp, image), expected);
      for (const fsDriver of TESTED_DATA_PATHS) {
        const at = temp.join(`mnt-${fsDriver}`);
        Deno.mkdirSync(at);
        const args = ["mount", image, at, "--fs-driver", fsDriver, "--cache-dir", temp.join(`cache-${fsDriver}`)];
        await using _server = await Server.start(args, /^mounted /);
        assert.deepEqual(await walkInChild(at, signal()), expected, fsDriver);
      }
      if (hasTools) await requireNydusd(temp, image, expected);
    },
  );
}

Deno.test("what an image that refers to its layers cannot have is refused by name", async () => {
  using temp = TempDir.make();
  await writeLayout(temp.join("source"), { layers: [{ tar: tarOf(file("a", "1")) }] });
  const convert = ["convert", "--oci-ref", `oci:${temp.join("source")}:1`, `oci:${temp.join("image")}:1`];
  const work = ["--work-dir", temp.join("work")];
  const usage = { code: 2 };
  const refused = async (flags: string[], message: RegExp) =>
    await fails([...convert, ...work, ...flags], message, undefined, usage);
  await refused(["--fs-version", "5"], /with --oci-ref and --fs-version 5: only RAFS v6 can refer to gzip layers$/);
  await refused(["--chunk-dict", "oci:x"], /with --oci-ref and --chunk-dict: chunks stay in the original layers$/);
  const folder = ["convert", "--oci-ref", `dir:${temp.join("source")}`, `oci:${temp.join("image")}:1`, ...work];
  await fails(folder, /cannot refer to the layers of dir:/, /^hint: push it and convert from there/, usage);
});

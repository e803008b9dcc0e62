/**
 * `nydus-gd convert --optimize-run` as a program: it runs the image and stores what that has read first.
 *
 * @module
 */
import assert from "node:assert/strict";
import { toByteString } from "../../lib/base/bytes.ts";
import type { Bootstrap } from "../../lib/rafs/bootstrap.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { findBootstrap } from "../../lib/image/source/find_bootstrap.ts";
import { locateImage } from "../../lib/image/source/locate_image.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { fails, inNamespace, run } from "../support/process/command.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { OTHER_PLATFORM, PLATFORM, runnableTree } from "../support/image/nydus_images.ts";
import { anonymousAccess } from "../support/image/source_access.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

const FILES = 40;

/** Two layers: busybox, and files so small that many fit into a batch. */
async function writeSource(dirPath: string): Promise<void> {
  const files = Array.from({ length: FILES }, (_, k) => file(`data/f${k}`, `${k} `.repeat(2000)));
  const large = file("data/large", Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 9)) & 0xff));
  const tars = [await runnableTree("hello"), tarOf(dir("data"), ...files, large)];
  const config = { Env: ["WHERE=/data"], WorkingDir: "/data" };
  await writeLayout(dirPath, { layers: tars.map((tar) => ({ tar })), config });
}

async function bootstrapOf(what: string, folder: string): Promise<Bootstrap> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const { signal } = new AbortController();
  const { source } = await locateImage({ what }, anonymousAccess(http, folder), signal);
  const { path } = await findBootstrap(source, `${folder}/found.boot`, source);
  return openBootstrap(await Deno.readFile(path));
}

/** Blob and offset of each file's first byte. */
function placesOf(bootstrap: Bootstrap): Map<string, { readonly blob: string; readonly offset: number }> {
  const places = new Map<string, { blob: string; offset: number }>();
  for (const { path, ino, attr } of walkTree(bootstrap)) {
    const [first] = (attr.mode & 0o170000) === 0o100000 ? bootstrap.extents(ino, 0, attr.size) : [];
    if (first === undefined) continue;
    places.set(toByteString(path), { blob: bootstrap.blobs[first.blobIndex]?.id ?? "", offset: first.blobOffset });
  }
  return places;
}

for (const flags of [[], ["--oci-ref"]]) {
  const name = "files read by a command are stored again in reading order, and the tree stays the same";
  fuseTest(`${name} (${flags.join(" ")})`, () => requireStart(flags));
}

/** @param flags of the conversion */
async function requireStart(flags: readonly string[]): Promise<void> {
  using temp = TempDir.make();
  await writeSource(temp.join("source"));
  const source = `oci:${temp.join("source")}:1`;
  const target = `oci:${temp.join("target")}:1`;
  const command = 'test "$PWD" = /data && cat "$WHERE/f7" f3 large f7 > /written';
  const convert = ["convert", source, target, "--work-dir", temp.join("work"), "-o", "json"];
  const { code, stdout, stderr } = await run([...convert, ...flags, "--optimize-run", command]);
  assert.deepEqual([code, stderr], [0, ""]);
  const { platforms: [made] } = JSON.parse(stdout) as { platforms: { start_blob: { digest: string } }[] };
  const start = made?.start_blob.digest.replace("sha256:", "");

  const bootstrap = await bootstrapOf(target, temp.path);
  assert.equal(bootstrap.chunkSize, 128 * 1024);
  const places = placesOf(bootstrap);
  const read = [...places].filter(([, { blob }]) => blob === start).sort(([, a], [, b]) => a.offset - b.offset);
  assert.deepEqual(read.map(([path]) => path), ["/bin/busybox", "/data/f7", "/data/f3", "/data/large"]);
  const paths = new Map(Array.from(walkTree(bootstrap), ({ path, ino }) => [ino, toByteString(path)]));
  const listed = bootstrap.prefetch.map((ino) => paths.get(ino));
  assert.deepEqual(listed.filter((path) => path !== "/bin/busybox"), ["/data/f7", "/data/f3", "/data/large"]);
  assert.equal(places.size, FILES + 3, "written by the command");

  for (const checks of [["--blobs"], ["--against", source]]) {
    const checked = await run(["check", ...checks, target]);
    assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  }
  const again = await run([...convert, ...flags, "--optimize-run", command]);
  const reused = JSON.parse(again.stdout) as { platforms: { blobs: { reused: boolean }[] }[] };
  assert.deepEqual(reused.platforms[0]?.blobs.map((blob) => blob.reused), [true, true]);
}

fuseTest("an endless command is ended, a failing one reported, and no mount is left", async () => {
  using temp = TempDir.make();
  await writeSource(temp.join("source"));
  const source = `oci:${temp.join("source")}:1`;
  const target = `oci:${temp.join("target")}:1`;
  await Deno.mkdir(temp.join("scratch"));
  const env = { TMPDIR: temp.join("scratch") };
  const args = ["convert", source, target, "--work-dir", temp.join("work"), "-o", "json", "--optimize-run"];
  await fails([...args, "cat f1 nothing"], /^nydus-gd: cannot run .* in the image: it ended with 1$/, /nothing/, {
    env,
    code: 2,
  });
  assert.deepEqual([...Deno.readDirSync(temp.join("scratch"))], []);
  const { code, stdout, stderr } = await run([...args, "cat f1; sleep 1000000"], { env });
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /start_blob/);
  assert.deepEqual(mountPointsBelow(temp.path), []);
  assert.deepEqual([...Deno.readDirSync(temp.join("scratch"))], []);
});

fuseTest("an image is run where temporary files are on an overlay, as in a container", async () => {
  using temp = TempDir.make();
  await writeSource(temp.join("source"));
  for (const folder of ["memory", "scratch"]) await Deno.mkdir(temp.join(folder));
  const [memory, scratch] = [temp.join("memory"), temp.join("scratch")];
  const within = inNamespace(
    `mount -t tmpfs tmpfs ${memory}; cd ${memory}; mkdir lower upper work; ` +
      `mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay ${scratch}; cd /`,
  );
  const words = ["convert", `oci:${temp.join("source")}:1`, `oci:${temp.join("target")}:1`, "-o", "json"];
  const { code, stdout, stderr } = await run(
    [...words, "--work-dir", temp.join("work"), "--optimize-run", "cat f1 > /written"],
    { within, env: { TMPDIR: scratch } },
  );
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /start_blob/);
});

fuseTest("of several platforms only that of this machine is run", async () => {
  using temp = TempDir.make();
  const [{ architecture: own }, { architecture: other }] = [PLATFORM, OTHER_PLATFORM];
  const images = await Promise.all([own, other].map(async (architecture) => ({
    architecture,
    layers: [{ tar: await runnableTree(architecture) }],
  })));
  await writeLayout(temp.join("source"), ...images);
  const [source, target] = [`oci:${temp.join("source")}:1`, `oci:${temp.join("target")}:1`];
  const args = ["convert", source, target, "--work-dir", temp.join("work"), "-o", "json"];
  const { code, stdout, stderr } = await run([...args, "--optimize-run", "cat /hello"]);
  assert.equal(code, 0, stderr);
  const { platforms } = JSON.parse(stdout) as { platforms: { platform: string; start_blob?: object }[] };
  const ran = platforms.map(({ platform, start_blob }) => [platform, start_blob !== undefined]);
  assert.deepEqual(ran, [[`linux/${own}`, true], [`linux/${other}`, false]]);
});

import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { noise } from "../../../tests/support/image/convert_kit.ts";
import { dir, file, tarOf } from "../../../tests/support/archive/tar_builder.ts";
import { hasCode } from "../../base/errors.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { concatenate } from "../../base/bytes.ts";
import { isOfImages, plainName } from "./archive_names.ts";
import { openImageArchive } from "./image_archive.ts";

const signal = new AbortController().signal;
const ID = "0123456789abcdef".repeat(4);

Deno.test("the file names that tools use in image archives are recognised, others are ordinary files", () => {
  const docker = ["manifest.json", "repositories", `${ID}.json`, `${ID}/`, `${ID}/layer.tar`, `${ID}/json`];
  const podman = [`${ID}.tar`, `${ID}/VERSION`];
  const layout = ["./", "oci-layout", "index.json", "./blobs/", "blobs/sha256", `./blobs/sha256/${ID}`];
  const others = [`sha256:${ID}`, `${ID}.tar.gz`, "config.json", "0/layer.tar"];
  for (const name of [...docker, ...podman, ...layout, ...others]) assert.ok(isOfImages(plainName(name)), name);
  for (const name of ["etc", "etc/passwd", "bin/", `${ID}/etc`, "blobs/sha256/x y", "src/package.json", ".dockerenv"]) {
    assert.ok(!isOfImages(plainName(name)), name);
  }
});

Deno.test("an archive of files is recognised by its first names, whatever follows", async () => {
  const start = tarOf(file("package.json", "{}"), dir("./"), file("etc/passwd", "root")).subarray(0, -1024);
  const archive = concatenate([start, noise(600_000)]);
  for (const bytes of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
    using temp = TempDir.make();
    const path = temp.join("files.tar");
    await Deno.writeFile(path, bytes);
    await Deno.mkdir(temp.join("scratch"));
    assert.equal(await openImageArchive(`tar:${path}`, temp.join("scratch"), signal), undefined);
    assert.deepEqual([...Deno.readDirSync(temp.join("scratch"))], []);
  }
});

Deno.test("input that is not an archive is reported as such, with its name", async () => {
  using temp = TempDir.make();
  const path = temp.join("noise.tar");
  await Deno.writeFile(path, noise(2048));
  await assert.rejects(
    () => openImageArchive(`tar:${path}`, temp.path, signal),
    (error) =>
      error instanceof Error && error.message.startsWith(`Cannot read archive ${path}: cannot read tar header`),
  );
});

Deno.test("a pipe and standard input are refused with a hint, since an archive is read more than once", async () => {
  using temp = TempDir.make();
  const pipe = temp.join("pipe");
  await new Deno.Command("mkfifo", { args: [pipe] }).output();
  for (const what of [pipe, "-"]) {
    await assert.rejects(
      () => openImageArchive(`tar:${what}`, temp.path, signal),
      (error) =>
        hasCode(error, "usage") && error.message === `Cannot read tar:${what}: it is not a file` &&
        /^save the archive/.test(error.hint ?? ""),
    );
  }
});

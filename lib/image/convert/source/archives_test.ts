/**
 * Archives of images, as sources and as targets.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { ConvertKit, noise } from "../../../../tests/support/image/convert_kit.ts";
import { writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { dir, file, symlink, tarOf, type TestEntry, whiteout } from "../../../../tests/support/archive/tar_builder.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../../backend/http/fetch_options.ts";
import { HttpClient } from "../../../backend/http/http_client.ts";
import { anonymousAccess } from "../../../../tests/support/image/source_access.ts";
import { daemonImage } from "./docker_source.ts";
import { hasCode } from "../../../base/errors.ts";

const LOWER = tarOf(dir("d"), file("d/a", noise(9000)), file("d/gone", "1"));
const UPPER = tarOf(whiteout("d/gone"), file("top", "2"));

const hex = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** Output of an old `docker save` for one image. */
function savedImage(names: string[], layers: readonly [path: string, tar: Uint8Array][], more: object = {}) {
  const config = JSON.stringify({
    ...{ architecture: "amd64", os: "linux", config: { Cmd: ["sh"] } },
    rootfs: { type: "layers", diff_ids: layers.map(([, tar]) => `sha256:${hex(tar)}`) },
    ...more,
  });
  const configPath = `${hex(config)}.json`;
  const entry = { Config: configPath, RepoTags: names, Layers: layers.map(([path]) => path) };
  return { entry, files: [file(configPath, config)] };
}

function savedArchive(images: readonly ReturnType<typeof savedImage>[], layers: readonly TestEntry[]): Uint8Array {
  const list = JSON.stringify(images.map(({ entry }) => entry));
  return tarOf(...images.flatMap(({ files }) => files), ...layers, file("manifest.json", list));
}

const [A, B, C] = ["a", "b", "c"].map((name) => `${hex(name)}/layer.tar`) as [string, string, string];

Deno.test("an image saved by docker save is converted, plain or compressed, with layers shared by links", async () => {
  const image = savedImage(["app:1"], [[A, LOWER], [B, UPPER], [C, UPPER]]);
  const link = symlink(C, `../${B}`);
  const archive = savedArchive([image], [file(A, LOWER), file(B, UPPER), link]);
  for (const bytes of [archive, gzipSync(archive)]) {
    using kit = new ConvertKit();
    const path = kit.temp.join("saved.tar");
    await Deno.writeFile(path, bytes);
    const { digest, platforms } = await kit.convert(`tar:${path}`, kit.named("target"));
    assert.deepEqual(platforms.map(({ platform, layers }) => [platform, layers.length]), [["linux/amd64", 3]]);
    assert.deepEqual(await kit.paths(), ["/", "/d", "/d/a", "/top"]);
    const { manifests } = kit.json(digest) as { manifests: { digest: string }[] };
    const { config } = kit.json(manifests[0]?.digest ?? "") as { config: { digest: string } };
    assert.deepEqual(kit.json(config.digest).config, { Cmd: ["sh"] });
  }
});

Deno.test("in an archive with several images the name selects one", async () => {
  using kit = new ConvertKit();
  const path = kit.temp.join("saved:1.tar");
  const images = [savedImage(["app:1", "also:2"], [[A, LOWER]]), savedImage(["app:3"], [[B, UPPER]])];
  await Deno.writeFile(path, savedArchive(images, [file(A, LOWER), file(B, UPPER)]));
  for (const [name, paths] of [["app:1", ["/", "/d", "/d/a", "/d/gone"]], ["3", ["/", "/d", "/top"]]] as const) {
    await kit.convert(`tar:${path}:${name}`, kit.named("target"));
    assert.deepEqual(await kit.paths(), paths);
  }
  const refused = async (name: string, code: "usage" | "not-found", message: RegExp) =>
    await assert.rejects(() => kit.convert(`tar:${path}${name}`, kit.named("target")), (error) => {
      assert.ok(hasCode(error, code), String(error));
      assert.match(error.message, message);
      return true;
    });
  await refused("", "usage", /it has 2 images$/);
  await refused(":app:2", "not-found", /: it has app:1, also:2, app:3$/);
  await assert.rejects(() => kit.convert("tar:/no/such:1", kit.named("target")), /there is no such file$/);
});

Deno.test("an invalid image archive is refused with a one-line error", async () => {
  using kit = new ConvertKit();
  const path = kit.temp.join("saved.tar");
  const refused = async (archive: Uint8Array, message: RegExp) => {
    await Deno.writeFile(path, archive);
    await assert.rejects(() => kit.convert(`tar:${path}`, kit.named("target")), (error) => {
      assert.ok(hasCode(error, "corrupt", "invalid-image", "not-found", "unsupported"), String(error));
      assert.match(error.message, message);
      return true;
    });
  };
  const image = savedImage(["app:1"], [[A, LOWER]]);
  const whole = savedArchive([image], [file(A, LOWER)]);
  await refused(
    savedArchive([image], [file(A, UPPER)]),
    /^Cannot convert layer sha256:\w+: its digest sha256:\w+ is not/,
  );
  await refused(savedArchive([image], []), /there is no \w+\/layer\.tar in it$/);
  await refused(savedArchive([image], [symlink(A, `../${B}`), symlink(B, `../${A}`)]), /there is no \w+\/layer\.tar/);
  await refused(whole.subarray(0, 4096), /it ends inside of "\w+\/layer\.tar"$/);
  await refused(tarOf(file("manifest.json", '[{"Config": 1}]')), /manifest\.json: \[0\]\.Config must be/);
  const lazy = savedImage(["app:1"], [[A, LOWER]], { history: [{ comment: "Nydus Bootstrap Layer" }] });
  await refused(savedArchive([lazy], [file(A, LOWER)]), /it is a nydus image already$/);
});

Deno.test("a lazy image of a Docker daemon is refused by the name that the user gave it", async () => {
  using kit = new ConvertKit();
  const lazy = savedImage(["app:1"], [[A, LOWER]], { history: [{ comment: "Nydus Bootstrap Layer" }] });
  const archive = savedArchive([lazy], [file(A, LOWER)]);
  const path = kit.temp.join("docker.sock");
  await using _docker = Deno.serve({ path, onListen: () => {} }, ({ url }) => {
    const isImage = new URL(url).pathname.endsWith("/json");
    return isImage ? Response.json({ Id: `sha256:${hex("id")}`, RootFS: {} }) : new Response(new Uint8Array(archive));
  });
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const access = anonymousAccess(http, kit.temp.path, path);
  await assert.rejects(daemonImage("docker:app:1", access, new AbortController().signal), {
    message: "Cannot convert docker:app:1: it is a nydus image already",
  });
});

Deno.test("a layout in an archive is written and read like one in a folder, with identical bytes", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: LOWER }, { tar: UPPER }] });
  const archives: Uint8Array[] = [];
  for (const name of ["one.tar", "two.tar"]) {
    const target = `tar:${kit.temp.join(name)}`;
    const made = await kit.convert(kit.named("source"), target);
    assert.equal(made.target, target);
    assert.deepEqual(await kit.paths(target), ["/", "/d", "/d/a", "/top"]);
    archives.push(await Deno.readFile(kit.temp.join(name)));
  }
  assert.deepEqual(archives[0], archives[1]);
  const left = Array.from(Deno.readDirSync(kit.temp.path), ({ name }) => name).filter((name) => /part/.test(name));
  assert.deepEqual(left, []);

  const again = `tar:${kit.temp.join("one.tar")}`;
  await assert.rejects(() => kit.convert(kit.named("source"), again), /the file already exists$/);
  await kit.convert(kit.named("source"), again, {}, { force: true });
  await assert.rejects(() => kit.convert(again, kit.named("target")), /it is a nydus image already$/);
});

Deno.test("a layout with an ordinary image is an image archive, similar names alone are files", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: LOWER }] });
  for (const [flags, name] of [["-cf", "layout.tar"], ["-czf", "layout.tar.gz"]] as const) {
    const args = ["-C", kit.temp.join("source"), flags, kit.temp.join(name), "."];
    assert.ok((await new Deno.Command("tar", { args }).output()).success);
    await kit.convert(`tar:${kit.temp.join(name)}`, kit.named("target"), {}, { withOci: true });
    assert.deepEqual(await kit.paths(), ["/", "/d", "/d/a", "/d/gone"]);
  }

  await Deno.writeFile(kit.temp.join("files.tar"), tarOf(file("index.json", "{}"), dir("blobs")));
  await kit.convert(`tar:${kit.temp.join("files.tar")}`, kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/blobs", "/index.json"]);
  await assert.rejects(
    () => kit.convert(`tar:${kit.temp.join("files.tar")}`, kit.named("target"), {}, { withOci: true }),
    /the source has no manifest that an index could list$/,
  );
});

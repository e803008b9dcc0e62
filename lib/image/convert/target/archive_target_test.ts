import assert from "node:assert/strict";
import { ConvertKit, noise } from "../../../../tests/support/image/convert_kit.ts";
import { dir, file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { hasCode } from "../../../base/errors.ts";
import { digestOf } from "../../build/image_builder.ts";
import { ArchiveTarget } from "./archive_target.ts";

const { signal } = new AbortController();

const ROOT = { mediaType: "application/vnd.oci.image.index.v1+json", ...blob('{"schemaVersion":2,"manifests":[]}') };

function blob(text: string) {
  const bytes = new TextEncoder().encode(text);
  return { digest: digestOf(bytes), bytes };
}

/** Names in a folder, ascending. */
function namesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
}

Deno.test("an archive contains its own conversion only, nothing that an interrupted one left", async () => {
  using temp = TempDir.make();
  const path = temp.join("image.tar");
  const foreign = blob("of another image");
  await Deno.mkdir(`${path}.partial/blobs/sha256`, { recursive: true });
  await Deno.writeTextFile(`${path}.partial/oci-layout`, "{}");
  await Deno.writeFile(`${path}.partial/blobs/${foreign.digest.replace(":", "/")}`, foreign.bytes);
  const known = blob("found again");
  await Deno.writeFile(`${path}.partial/blobs/${known.digest.replace(":", "/")}`, known.bytes);
  const target = await ArchiveTarget.open(path);
  assert.ok(await target.has({ digest: known.digest, size: known.bytes.length }));
  await target.publish([], ROOT, signal);
  const { stdout } = await new Deno.Command("tar", { args: ["-tf", path] }).output();
  const blobs = [known, ROOT].map(({ digest }) => `blobs/${digest.replace(":", "/")}`).sort();
  const listed = new TextDecoder().decode(stdout).trim().split("\n");
  assert.deepEqual(listed, ["blobs/", "blobs/sha256/", ...blobs, "index.json", "oci-layout"]);
  assert.deepEqual(namesIn(temp.path), ["image.tar"]);
});

Deno.test("one conversion at a time writes an archive, and a failed one leaves no files", async () => {
  using temp = TempDir.make();
  const path = temp.join("image.tar");
  const first = await ArchiveTarget.open(path);
  await assert.rejects(() => ArchiveTarget.open(path), (error) => hasCode(error, "busy"));
  await first.putBytes({ mediaType: "text/plain", ...blob("blob") });
  await first.discard(false);
  assert.deepEqual(namesIn(temp.path), []);
  const interrupted = await ArchiveTarget.open(path);
  await interrupted.putBytes({ mediaType: "text/plain", ...blob("blob") });
  await interrupted.discard(true);
  assert.deepEqual(namesIn(`${path}.partial`), ["blobs", "oci-layout"]);
  const second = await ArchiveTarget.open(path);
  await second.publish([], ROOT, signal);
  assert.deepEqual(namesIn(temp.path), ["image.tar"]);
});

Deno.test("every file of a layout is readable by others, including the data blobs", async () => {
  using kit = new ConvertKit();
  await Deno.writeFile(kit.temp.join("files.tar"), tarOf(dir("d"), file("d/a", noise(9000))));
  await kit.convert(`tar:${kit.temp.join("files.tar")}`, kit.named("target"));
  const files = [kit.temp.join("target/index.json"), kit.temp.join("target/oci-layout")];
  const blobs = kit.temp.join("target/blobs/sha256");
  for (const path of [...files, ...namesIn(blobs).map((name) => `${blobs}/${name}`)]) {
    assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o644 & ~Deno.umask(), path);
  }
});

import assert from "node:assert/strict";
import { digestOf } from "../../build/image_builder.ts";
import { MEDIA_TYPE } from "../../../oci/media_types.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { LayoutTarget } from "./layout_target.ts";

function manifest(name: string) {
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, name }));
  return { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(bytes), bytes };
}

Deno.test("two conversions into one layout do not remove each other's unfinished files", async () => {
  using temp = TempDir.make();
  const layout = temp.join("layout");
  const first = await LayoutTarget.open(`oci:${layout}:first`);
  const onItsWay = await first.spoolPath();
  await Deno.writeTextFile(onItsWay, "blob");
  const second = await LayoutTarget.open(`oci:${layout}:second`);
  const { signal } = new AbortController();
  await second.publish([], manifest("second"), signal);
  const digest = digestOf(new TextEncoder().encode("blob"));
  await first.putFile({ digest, size: 4 }, onItsWay);
  await first.publish([], manifest("first"), signal);
  const names = Array.from(Deno.readDirSync(layout), ({ name }) => name).sort();
  assert.deepEqual(names, ["blobs", "index.json", "oci-layout"]);
  const index = await Deno.readTextFile(`${layout}/index.json`);
  assert.match(index, /"second".*"first"/);
  assert.equal(await Deno.readTextFile(`${layout}/blobs/sha256/${digest.slice("sha256:".length)}`), "blob");
});

Deno.test("a failed conversion removes a layout that it created, but not one with other content", async () => {
  using temp = TempDir.make();
  const layout = temp.join("layout");
  const failed = await LayoutTarget.open(`oci:${layout}`);
  const other = await LayoutTarget.open(`oci:${layout}:other`);
  await failed.discard();
  const { signal } = new AbortController();
  await other.publish([], manifest("other"), signal);
  const names = () => Array.from(Deno.readDirSync(layout), ({ name }) => name).sort();
  assert.deepEqual(names(), ["blobs", "index.json", "oci-layout"]);
  await (await LayoutTarget.open(`oci:${layout}`)).discard();
  assert.deepEqual(names(), ["blobs", "index.json", "oci-layout"]);
  await (await LayoutTarget.open(`oci:${temp.join("new")}`)).discard();
  assert.deepEqual(Array.from(Deno.readDirSync(temp.path), ({ name }) => name), ["layout"]);
});

Deno.test("a partly created layout is completed, and an existing oci-layout file is not rewritten", async () => {
  using temp = TempDir.make();
  const layout = temp.join("layout");
  await Deno.mkdir(`${layout}/.partial`, { recursive: true });
  const { signal } = new AbortController();
  await (await LayoutTarget.open(`oci:${layout}`)).publish([], manifest("first"), signal);
  const inode = () => Deno.statSync(`${layout}/oci-layout`).ino;
  const before = inode();
  await (await LayoutTarget.open(`oci:${layout}`)).publish([], manifest("second"), signal);
  assert.equal(inode(), before);
});

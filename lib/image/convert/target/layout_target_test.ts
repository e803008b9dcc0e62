import assert from "node:assert/strict";
import { digestOf } from "../../build/image_builder.ts";
import { MEDIA_TYPE } from "../../../oci/media_types.ts";
import { rootTest } from "../../../../tests/support/root_test.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { Tmpfs } from "../../../../tests/support/tmpfs.ts";
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

Deno.test("what a killed conversion left in a layout is removed when the next one begins, unless others are at work", async () => {
  using temp = TempDir.make();
  const [layout, spool] = [temp.join("layout"), temp.join("layout/.partial")];
  await Deno.mkdir(spool, { recursive: true });
  await Deno.writeTextFile(`${spool}/left.part`, "blob");
  const names = () => Array.from(Deno.readDirSync(spool), ({ name }) => name);
  const first = await LayoutTarget.open(`oci:${layout}:first`);
  assert.deepEqual(names(), []);
  await Deno.writeTextFile(`${spool}/used.part`, "blob");
  const second = await LayoutTarget.open(`oci:${layout}:second`);
  assert.deepEqual(names(), ["used.part"]);
  await second.discard();
  await first.discard();
});

rootTest("a disk without room for a document is reported with its folder and a hint", async () => {
  using disk = new Tmpfs("size=64k");
  const target = await LayoutTarget.open(`oci:${disk.join("layout")}`);
  const bytes = new Uint8Array(1 << 20);
  const blob = { mediaType: MEDIA_TYPE.ociLayerGzip, digest: digestOf(bytes), bytes };
  await assert.rejects(target.putBytes(blob), {
    message: /^Cannot write oci:.*layout:latest: the disk of .*\.part is full$/,
    hint: "free some space there, or use another location",
  });
  await target.discard();
  assert.deepEqual(Array.from(Deno.readDirSync(disk.path)), []);
});

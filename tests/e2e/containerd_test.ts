/**
 * Lazy and ordinary images with the machine's containerd and with 1.7, pulled by ctr and as a kubelet pulls them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../support/process/command.ts";
import {
  CONTAINERD_17,
  type ContainerdStack,
  INSTALLED_CONTAINERD,
  requireNoSnapshots,
  withContainerd,
} from "../support/docker/containerd_stack.ts";
import {
  fetchesMetadataOnly,
  largeFilesImage,
  largeFilesLayer,
  pusherInto,
  sumsOf,
} from "../support/docker/large_files_image.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";

for (const { name, missing } of [INSTALLED_CONTAINERD, CONTAINERD_17]) {
  if (missing !== undefined) console.log(`skipped, ${name}: ${missing}`);
}

function test(name: string, body: (stack: ContainerdStack) => Promise<void>, program = INSTALLED_CONTAINERD): void {
  const ignore = program.missing !== undefined;
  Deno.test({ name: `${program.name}: ${name}`, ignore, fn: () => withContainerd(body, program) });
}

function testOnEach(name: string, body: (stack: ContainerdStack) => Promise<void>): void {
  for (const program of [INSTALLED_CONTAINERD, CONTAINERD_17]) test(name, body, program);
}

const SUM = "/bin/sha256sum";

testOnEach("containers of ordinary images run, and leave nothing when they are removed", async (stack) => {
  const above = tarOf(dir("data"), file("data/1", "above"));
  await pusherInto(stack.registry, "classic").classic([await largeFilesLayer(), above], { tag: "1" });
  const reference = `${stack.registry.host}/classic:1`;
  await stack.pull(reference);
  assert.equal(await stack.run(reference, "one", "/bin/cat", "/data/1"), "above");
  await stack.begin(reference, "two");
  await stack.exec("two", "/bin/sh", "-c", "echo written >/data/1; busybox rm /data/2; busybox mkdir /new");
  assert.equal(await stack.exec("two", "/bin/cat", "/data/1"), "written");
  await stack.crashDriver();
  assert.equal(await stack.exec("two", SUM, "/data/3"), sumsOf(3));
  assert.equal(await stack.run(reference, "three", "/bin/cat", "/data/1"), "above");
  await stack.end("two");
  await stack.remove(reference);
  await requireNoSnapshots(stack.sandbox, stack.dir);
});

test("an image of data blobs and a bootstrap is pulled without its data, which containers get on demand", async (stack) => {
  const { registry } = stack;
  const image = await largeFilesImage();
  const blobBytes = image.blobs.reduce((sum, { length }) => sum + length, 0);
  await pusherInto(registry, "lazy").standard(image, { tag: "1" });
  const reference = `${registry.host}/lazy:1`;
  await fetchesMetadataOnly(registry, () => stack.pullByCri(reference));
  const bytes = await registry.bytesDuring(async () => {
    await stack.begin(reference, "one");
    assert.equal(await stack.exec("one", SUM, "/data/1", "/data/2"), sumsOf(1, 2));
  });
  assert.ok(bytes < blobBytes * 0.8, `${bytes} bytes of ${blobBytes} came for two files of four`);
  const again = await registry.bytesDuring(() => stack.run(reference, "two", SUM, "/data/1", "/data/2"));
  assert.equal(again, 0, "it is here");
  await stack.end("one");
  await stack.remove(reference);
  await requireNoSnapshots(stack.sandbox, stack.dir);
});

test("a container of a lazy image outlives its daemon, and reads from the next one what is missing", async (stack) => {
  const { registry } = stack;
  await pusherInto(registry, "lazy").standard(await largeFilesImage(), { tag: "1" });
  const reference = `${registry.host}/lazy:1`;
  await stack.pullByCri(reference);
  await stack.begin(reference, "one");
  await stack.begin(reference, "two");
  await stack.exec("one", "/bin/sh", "-c", "echo changed >/data/3");
  await stack.crashDriver();
  assert.equal(await stack.exec("two", SUM, "/data/1"), sumsOf(1));
  await stack.crashDriver();
  assert.equal(await stack.exec("one", "/bin/cat", "/data/3"), "changed");
  assert.equal(await stack.exec("two", SUM, "/data/3"), sumsOf(3));
  await stack.end("one");
  await stack.end("two");
  await stack.remove(reference);
  await requireNoSnapshots(stack.sandbox, stack.dir);
});

testOnEach(
  "an image that convert made is pulled lazily by a kubelet, and runs when ctr has pulled it",
  async (stack) => {
    const { registry } = stack;
    await pusherInto(registry, "app").classic([await largeFilesLayer()], { tag: "1" });
    const target = `${registry.host}/app:1-lazy`;
    const made = await run(["convert", `${registry.host}/app:1`, target, "--work-dir", `${stack.dir}/work`]);
    assert.equal(made.code, 0, made.stderr);
    await fetchesMetadataOnly(registry, () => stack.pullByCri(target));
    assert.equal(await stack.run(target, "one", SUM, "/data/1", "/data/4"), sumsOf(1, 4));
    await stack.remove(target);
    await requireNoSnapshots(stack.sandbox, stack.dir);

    await stack.pull(target);
    assert.equal(await stack.run(target, "two", SUM, "/data/2"), sumsOf(2));
    await stack.remove(target);
    await requireNoSnapshots(stack.sandbox, stack.dir);
  },
);

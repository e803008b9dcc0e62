/**
 * Images unpacked to directories and tars, and compared with their source.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Backend } from "../../lib/backend/blob_source.ts";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { FolderSink } from "../../lib/image/unpack/folder_sink.ts";
import { TarFile, TarStream } from "../../lib/image/unpack/tar_output.ts";
import { TarSink } from "../../lib/image/unpack/tar_sink.ts";
import { FixtureCopy } from "../support/damage/damage.ts";
import {
  allRafsFixtures,
  fixtureOf,
  type ListedEntry,
  type RafsFixture,
  storedListing,
} from "../support/rafs/rafs_fixtures.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";
import { Tmpfs } from "../support/tmpfs.ts";
import { listTree } from "../support/mount/tree_walk.ts";
import { unpackedListing, unpackFixture, unpackInto } from "../support/rafs/unpack_fixture.ts";

const fixtures = allRafsFixtures().filter(({ blobsAbsent }) => !blobsAbsent);

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name);

rootTest("every image unpacks to the folder that it was made from", async () => {
  for (const fixture of fixtures) {
    using temp = new Tmpfs();
    const dir = temp.join("rootfs");
    const { names: count, leftOut } = await unpackInto(dir, fixture);
    const listing = await unpackedListing(fixture);
    assert.deepEqual(listTree(dir), listing, fixture.name);
    assert.deepEqual([count, leftOut], [listing.length, { xattrs: 0, sockets: 0 }]);
  }
});

rootTest("every image unpacks to a tar that GNU tar extracts to the same tree", async () => {
  for (const fixture of fixtures) {
    using temp = new Tmpfs();
    const tar = temp.join("tree.tar");
    const { leftOut } = await unpackFixture(fixture, new TarSink(await TarFile.create(tar)), temp.path);
    const dir = temp.join("rootfs");
    Deno.mkdirSync(dir);
    const args = ["-xpf", tar, "-C", dir, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner"];
    const { success, stderr } = new Deno.Command("tar", { args }).outputSync();
    assert.ok(success, new TextDecoder().decode(stderr));
    const listing = await unpackedListing(fixture);
    const sockets = listing.filter(({ type }) => type === "sock");
    assert.equal(leftOut.sockets, sockets.length);
    assert.deepEqual(listTree(dir), listing.filter(({ type }) => type !== "sock"), fixture.name);
  }
});

rootTest("a tar written to a stream equals one written to a file", async () => {
  using temp = TempDir.make();
  const fixture = fixtureOf("v6-layers-merged");
  const pieces: Uint8Array[] = [];
  const stream = {
    write(bytes: Uint8Array) {
      pieces.push(bytes.slice(0, 1000)); // as a pipe may, it takes a part only
      return Promise.resolve(Math.min(1000, bytes.length));
    },
  };
  await unpackFixture(fixture, new TarSink(new TarStream(stream)), temp.path);
  await unpackFixture(fixture, new TarSink(await TarFile.create(temp.join("x.tar"))), temp.path);
  const whole = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  assert.deepEqual(whole, await Deno.readFile(temp.join("x.tar")));
});

rootTest("zeros become holes", async () => {
  using temp = new Tmpfs();
  const fixture = fixtureOf("v6-none-sha256-4k");
  await unpackInto(temp.join("rootfs"), fixture);
  const isSparse = (path: string) => {
    const { size, blocks } = Deno.statSync(temp.join(`rootfs${path}`));
    return (blocks ?? 0) * 512 < size;
  };
  const files = storedListing(fixture).filter(({ type, path, size }) =>
    type === "reg" && !path.includes("%") && (size ?? 0) >= 4096
  );
  assert.ok(files.some(({ path }) => isSparse(path)));
  assert.ok(files.some(({ path }) => !isSparse(path)));
});

/** The blobs of an image that serve `stopAt` reads, and then never answer. */
function stalling({ directory }: RafsFixture, stopAt: number, onStall: () => void): Backend {
  const backend = LocalFsBackend.inFolder(join(directory, "blobs"));
  let reads = 0;
  return {
    description: backend.description,
    blob(id) {
      const source = backend.blob(id);
      return {
        description: source.description,
        size: (signal) => source.size(signal),
        async read(offset, length, options) {
          if (++reads <= stopAt) return await source.read(offset, length, options);
          onStall();
          const { promise, reject } = Promise.withResolvers<never>();
          options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
          return await promise;
        },
      };
    },
  };
}

rootTest("an incomplete folder contains only a marker, and an aborted unpack leaves nothing", async () => {
  for (const isNew of [true, false]) {
    using temp = TempDir.make();
    const dir = temp.join("rootfs");
    if (!isNew) Deno.mkdirSync(dir);
    const fixture = fixtureOf("v5-layers-merged");
    const abort = new AbortController();
    const stalled = Promise.withResolvers<void>();
    const sink = await FolderSink.open(dir);
    const backend = stalling(fixture, 1, stalled.resolve);
    const unpacking = unpackFixture(fixture, sink, sink.staging, { backend, signal: abort.signal });
    await stalled.promise;
    const [name, ...others] = names(dir);
    assert.match(name ?? "", /^\.nydus-gd-unpack-/);
    assert.deepEqual(others, []);
    abort.abort(new NydusGdError("interrupted", "Cannot finish: interrupted by SIGINT"));
    await assert.rejects(unpacking, { code: "interrupted" });
    if (isNew) assert.deepEqual(names(temp.path), []);
    else assert.deepEqual(names(dir), []);
  }
});

rootTest("an aborted unpack leaves no tar, and an existing file is not overwritten", async () => {
  using temp = TempDir.make();
  using scratch = TempDir.make();
  const fixture = fixtureOf("v5-layers-merged");
  const abort = new AbortController();
  const backend = stalling(
    fixture,
    1,
    () => abort.abort(new NydusGdError("interrupted", "Cannot finish: stop")),
  );
  const sink = new TarSink(await TarFile.create(temp.join("x.tar")));
  await assert.rejects(unpackFixture(fixture, sink, scratch.path, { backend, signal: abort.signal }), {
    code: "interrupted",
  });
  assert.deepEqual(names(temp.path), []);
  await Deno.writeTextFile(temp.join("x.tar"), "mine");
  await assert.rejects(TarFile.create(temp.join("x.tar")), { code: "exists", hint: `rm ${temp.join("x.tar")}` });
});

rootTest("an image with a corrupt chunk unpacks to nothing", async () => {
  using temp = TempDir.make();
  const copy = await FixtureCopy.of("v6-layers-merged");
  const bytes = copy.blob(0);
  bytes[0] = (bytes[0] as number) ^ 1;
  const { source, blobDir } = await copy.write(temp.join("image"));
  const sink = await FolderSink.open(temp.join("rootfs"));
  const backend = LocalFsBackend.inFolder(blobDir);
  const fixture = { bootstrap: source, directory: temp.path };
  await assert.rejects(unpackFixture(fixture, sink, sink.staging, { backend }), { code: "corrupt" });
  assert.deepEqual(names(temp.path), ["image"]);
});

rootTest("only a new or empty folder is accepted", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("file"), "");
  await assert.rejects(FolderSink.open(temp.path), {
    code: "exists",
    message: `Cannot unpack into ${temp.path}: it is not empty`,
  });
  await assert.rejects(FolderSink.open(temp.join("file")), { code: "exists" });
  await assert.rejects(FolderSink.open(temp.join("no/such")), { code: "not-found" });
  Deno.mkdirSync(temp.join("left/.nydus-gd-unpack-1"), { recursive: true });
  await assert.rejects(
    FolderSink.open(temp.join("left")),
    (error) => error instanceof NydusGdError && /^rm -r .*\.nydus-gd-unpack-1: left behind/.test(error.hint ?? ""),
  );
});

rootTest("one process at a time unpacks into a folder, under any of its names", async () => {
  using temp = TempDir.make();
  const dir = temp.join("rootfs");
  await Deno.symlink("rootfs", temp.join("link"));
  const first = await FolderSink.open(dir);
  await assert.rejects(FolderSink.open(temp.join("link")), { code: "busy" });
  await first.discard();
  await Deno.mkdir(dir);
  const second = await FolderSink.open(temp.join("link"));
  await second.discard();
});

rootTest("group and setgid bit of the target folder are not inherited by the tree", async () => {
  using temp = new Tmpfs();
  const dir = temp.join("rootfs");
  Deno.mkdirSync(dir);
  Deno.chmodSync(dir, 0o2777);
  Deno.chownSync(dir, 0, 1234);
  const fixture = fixtureOf("v5-lz4-sha256-64k");
  await unpackInto(dir, fixture);
  const strip = (entries: readonly ListedEntry[]) => entries.filter(({ path }) => path !== "/");
  assert.deepEqual(strip(listTree(dir)), strip(storedListing(fixture)));
});

/**
 * Comparison of images with their sources: a directory, a tar, and the layers of an ordinary image.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { AT } from "../../ffi/fcntl.ts";
import { utimensat } from "../../ffi/sys_stat.ts";
import { lsetxattr } from "../../ffi/sys_xattr.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { openSource } from "../../lib/image/against/open_source.ts";
import { checkImage } from "../../lib/image/check/check_image.ts";
import { locateImage } from "../../lib/image/source/locate_image.ts";
import { TarFile } from "../../lib/image/unpack/tar_output.ts";
import { TarSink } from "../../lib/image/unpack/tar_sink.ts";
import { FixtureCopy } from "../support/damage/damage.ts";
import { fixtureOf, listRafsFixtures, MORE_FIXTURES, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { rootTest } from "../support/root_test.ts";
import { anonymousAccess } from "../support/image/source_access.ts";
import { TempDir } from "../support/temp_dir.ts";
import { Tmpfs } from "../support/tmpfs.ts";
import { unpackFixture, unpackInto } from "../support/rafs/unpack_fixture.ts";

const own = listRafsFixtures();
const fixtures = own.filter(({ blobsAbsent }) => !blobsAbsent);
const signal = new AbortController().signal;
const onProgress = () => {};

/** Sorted differences. */
async function differences(source: string, blobDir: string, against: string, folder: string): Promise<string[]> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const report = await checkImage({
    ...{ source, sourceName: source },
    backend: LocalFsBackend.inFolder(blobDir),
    chunks: false,
    against: await openSource(against, anonymousAccess(http, folder), signal, onProgress),
    folder,
    signal,
    onProgress,
  });
  assert.deepEqual(report.remarks, []);
  return report.findings.map(({ kind, where, state }) => `${kind} ${where}: ${state}`).sort();
}

rootTest("an image equals the folder and the tar that it is unpacked to", async () => {
  for (const fixture of fixtures) {
    using temp = new Tmpfs();
    const blobDir = join(fixture.directory, "blobs");
    await unpackInto(temp.join("rootfs"), fixture);
    assert.deepEqual(
      await differences(fixture.bootstrap, blobDir, `dir:${temp.join("rootfs")}`, temp.path),
      [],
      fixture.name,
    );
    if (storedListing(fixture).some(({ type }) => type === "sock")) continue; // a tar cannot represent them
    await unpackFixture(fixture, new TarSink(await TarFile.create(temp.join("x.tar"))), temp.path);
    assert.deepEqual(
      await differences(fixture.bootstrap, blobDir, `tar:${temp.join("x.tar")}`, temp.path),
      [],
      fixture.name,
    );
  }
});

rootTest("any change in a source is reported, and nothing else", async () => {
  const fixture = fixtureOf("v5-lz4-sha256-64k");
  using temp = new Tmpfs();
  const dir = temp.join("rootfs");
  await unpackInto(dir, fixture);
  const entry = (path: string) => storedListing(fixture).find((listed) => listed.path === path) ?? assert.fail(path);
  /** Applies a change, and restores the times of the file and its parent. */
  const change = (path: string, how: (full: string) => void) => {
    how(join(dir, path));
    for (const touched of [path, path.slice(0, path.lastIndexOf("/"))]) {
      const { mtime: sec, mtime_nsec: nsec } = entry(touched === "" ? "/" : touched);
      const time = { sec, nsec };
      try {
        utimensat(AT.FDCWD, join(dir, touched), { atime: time, mtime: time }, AT.SYMLINK_NOFOLLOW);
      } catch (error) {
        if (!(error instanceof Error && /ENOENT/.test(error.message))) throw error;
      }
    }
  };
  change("/data/small.txt", (full) => {
    const bytes = Deno.readFileSync(full);
    bytes[7] = (bytes[7] as number) ^ 1;
    Deno.writeFileSync(full, bytes);
  });
  change("/data/one-byte", (full) => Deno.writeTextFileSync(full, "more"));
  change("/data/empty", (full) => Deno.chmodSync(full, 0o600));
  change("/data/noise.bin", (full) => Deno.chownSync(full, 3, 4));
  change("/data/multi", (full) => lsetxattr(full, "user.new", Uint8Array.of(1)));
  change("/data/dup-a", (full) => Deno.removeSync(full));
  change("/data/dup-b", (full) => {
    Deno.removeSync(full);
    Deno.symlinkSync("x", full);
  });
  utimensat(AT.FDCWD, join(dir, "data/zeros"), { atime: "omit", mtime: { sec: 5, nsec: 6 } }, AT.SYMLINK_NOFOLLOW);
  Deno.removeSync(join(dir, "many"), { recursive: true });
  Deno.mkdirSync(join(dir, "added"));
  Deno.writeTextFileSync(join(dir, "added/file"), "");
  const { mtime, mtime_nsec: nsec } = entry("/data/zeros");
  const found = await differences(fixture.bootstrap, join(fixture.directory, "blobs"), `dir:${dir}`, temp.path);
  assert.deepEqual(found.map((line) => line.replace(/[0-9a-f]{64}/g, "#")), [
    "source /added: it is missing",
    "source /data/dup-a: the source does not have it",
    "source /data/dup-b: it is a file, in the source a symlink",
    "source /data/empty: mode is 0644, in the source 0600",
    "source /data/multi: attribute user.new is missing",
    "source /data/noise.bin: owner is 0:0, in the source 3:4",
    "source /data/one-byte: size is 1, in the source 4",
    "source /data/small.txt: sha256 is #, in the source #",
    `source /data/zeros: mtime is ${mtime}.${String(nsec).padStart(9, "0")}, in the source 5.000000006`,
    "source /many: the source does not have it",
  ]);
});

rootTest("a hard link missing in the source or in the image is reported", async () => {
  const fixture = fixtureOf("v6-none-sha256-4k");
  using temp = new Tmpfs();
  const dir = temp.join("rootfs");
  await unpackInto(dir, fixture);
  const linked = storedListing(fixture).filter(({ link }) => link !== undefined);
  const [first] = linked;
  const second = linked.find(({ path, link }) => link === first?.link && path !== link) ?? assert.fail();
  const full = join(dir, second.path);
  Deno.copyFileSync(full, `${full}.copy`);
  Deno.removeSync(full);
  Deno.renameSync(`${full}.copy`, full);
  Deno.removeSync(join(dir, "data/dup-b"));
  Deno.linkSync(join(dir, "data/dup-a"), join(dir, "data/dup-b"));
  const found = await differences(fixture.bootstrap, join(fixture.directory, "blobs"), `dir:${dir}`, temp.path);
  assert.ok(
    found.includes(`source ${second.path}: it is one file with ${second.link}, in the source it is not`),
    found.join("\n"),
  );
  assert.ok(found.includes("source /data/dup-b: in the source it is one file with /data/dup-a"), found.join("\n"));
});

rootTest("a corrupt chunk is reported with its files, and the others are compared", async () => {
  using temp = new Tmpfs();
  const fixture = fixtureOf("v6-layers-merged");
  await unpackInto(temp.join("rootfs"), fixture);
  const copy = await FixtureCopy.of("v6-layers-merged");
  const bytes = copy.blob(0);
  bytes[0] = (bytes[0] as number) ^ 1;
  const files = copy.filesIn([{ blob: copy.id(0), from: 0, to: 1 }]);
  const { source, blobDir } = await copy.write(temp.join("image"));
  const found = await differences(source, blobDir, `dir:${temp.join("rootfs")}`, temp.path);
  assert.deepEqual(
    found.map((line) => /^source (\S+): its content cannot be read: /.exec(line)?.[1]),
    [...files].sort(),
  );
});

for (const name of ["oci-layout-v5", "oci-layout-v6"]) {
  const layout = join(MORE_FIXTURES, name);
  Deno.test({
    name: `${name}: the output of nydusify equals the ordinary image, including whiteouts`,
    ignore: listRafsFixtures(MORE_FIXTURES).length === 0,
  }, async () => {
    using temp = TempDir.make();
    using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
    const access = anonymousAccess(http, temp.path);
    const { source, backend } = await locateImage({ what: `oci:${layout}` }, access, signal);
    // the layers of the ordinary image are in the layout that holds both
    const against = await openSource(`oci:${join(MORE_FIXTURES, "oci-layout-v6")}`, access, signal, onProgress);
    const report = await checkImage({
      ...{ source, sourceName: source, backend, against, signal, onProgress },
      chunks: true,
      folder: temp.path,
    });
    assert.deepEqual([report.findings, report.remarks], [[], []]);
    assert.ok(report.names > 20);
  });
}

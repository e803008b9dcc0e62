import assert from "node:assert/strict";
import { join } from "node:path";
import { CHUNK_DATA, COMPRESSION_INFO } from "../../../tests/support/damage/damage_data.ts";
import { V5_BOOTSTRAP } from "../../../tests/support/damage/damage_v5.ts";
import { V6_BOOTSTRAP } from "../../../tests/support/damage/damage_v6.ts";
import { type Damage, FixtureCopy } from "../../../tests/support/damage/damage.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { allRafsFixtures, listBootstrap, MemoryImage } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import { NydusGdError } from "../../base/errors.ts";
import { NO_BATCH } from "../../rafs/blob/chunk_table.ts";
import { pathText } from "../../rafs/path_text.ts";
import { checkImage, type CheckOptions, type CheckReport } from "./check_image.ts";

const fixtures = allRafsFixtures();

const blobsIn = (dir: string) => LocalFsBackend.inFolder(dir);
const lines = ({ findings }: CheckReport) => findings.map(({ kind, where, state }) => `${kind} ${where}: ${state}`);

type Checked = Pick<CheckOptions, "source" | "chunks" | "folder"> & { readonly blobDir?: string };

async function check({ blobDir, ...options }: Checked): Promise<CheckReport> {
  return await checkImage({
    ...options,
    sourceName: options.source,
    against: undefined,
    backend: blobDir === undefined ? undefined : blobsIn(blobDir),
    signal: new AbortController().signal,
    onProgress: () => {},
  });
}

for (const fixture of fixtures) {
  Deno.test(`${fixture.name} and its blobs have no findings`, async () => {
    using temp = TempDir.make();
    const image = { source: fixture.bootstrap, folder: temp.path };
    const blobDir = join(fixture.directory, "blobs");
    const whole = await check({ ...image, blobDir, chunks: !fixture.blobsAbsent });
    assert.deepEqual(lines(whole), []);
    if (whole.blobs.length > 0) assert.ok(whole.blobs.every(({ verifiedChunks }) => (verifiedChunks ?? 0) > 0));
    const alone = await check({ ...image, chunks: false });
    assert.deepEqual(lines(alone), []);
    assert.equal(alone.names, whole.names);
  });
}

/** The verdict of a minimal reader: whether the image can be read to the last byte. */
async function isReadable(copy: FixtureCopy, folder: string): Promise<boolean> {
  const fixture = { ...copy.fixture, directory: folder };
  const bootstrap = copy.fixture.container === undefined
    ? join(folder, "bootstrap")
    : join(folder, "blobs", copy.fixture.container);
  try {
    const image = await MemoryImage.open({ ...fixture, bootstrap });
    await listBootstrap(image.bootstrap, (ino, size) => image.content(ino, size));
    return image.bootstrap.prefetch.length >= 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return false;
  }
}

async function findEach(kinds: readonly Damage[]): Promise<void> {
  await using _quiet = await quietLogs();
  const missed: string[] = [];
  let found = 0;
  for (const { name, fixture, apply } of kinds) {
    using temp = TempDir.make();
    const copy = await FixtureCopy.of(fixture);
    const fallout = apply(copy);
    const { source, blobDir } = await copy.write(temp.path);
    const complain = (state: string) => missed.push(`${fixture}, ${name}: ${state}`);
    let report: CheckReport;
    try {
      report = await check({ source, blobDir, chunks: true, folder: temp.path });
    } catch (error) {
      complain(error instanceof NydusGdError ? `no report: ${error.message}` : `threw ${error}`);
      continue;
    }
    if (report.count > 0) found++;
    const files = typeof fallout === "string" ? undefined : copy.filesIn(fallout);
    const mustFind = fallout === "refused" ||
      (files !== undefined ? files.size > 0 : !await isReadable(copy, temp.path));
    if (mustFind && report.count === 0) complain("not found");
    for (const line of lines(report)) if (/\n/.test(line)) complain(`not one line: ${JSON.stringify(line)}`);
  }
  assert.deepEqual(missed, []);
  assert.ok(found > kinds.length / 2, `${found} of ${kinds.length} found`);
}

Deno.test("uncompressed compression info is accepted", async () => {
  using temp = TempDir.make();
  const { apply, fixture } = COMPRESSION_INFO.find(({ name }) => /otherwise right$/.test(name)) ?? assert.fail();
  const copy = await FixtureCopy.of(fixture);
  apply(copy);
  const { source, blobDir } = await copy.write(temp.path);
  assert.deepEqual(lines(await check({ source, blobDir, chunks: true, folder: temp.path })), []);
});

Deno.test("every damaged blob that an image needs is reported", () => findEach(CHUNK_DATA));
Deno.test("unusable compression info is reported", () => findEach(COMPRESSION_INFO));
Deno.test("every damage of a v5 bootstrap that a reader refuses is reported", () => findEach(V5_BOOTSTRAP));
Deno.test("every damage of a v6 bootstrap that a reader refuses is reported", () => findEach(V6_BOOTSTRAP));

/** Returns a path from a listing in the form of findings. */
const shown = (path: string) =>
  pathText(Uint8Array.from(
    path.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    (character) => character.charCodeAt(0),
  ));

for (const name of ["v5-layers-merged", "v6-layers-merged", "v6-zstd-batch", "v6-inline-toc"]) {
  Deno.test(`a flipped byte in any chunk of ${name} is reported, with the files that use it`, async () => {
    using temp = TempDir.make();
    const clean = await FixtureCopy.of(name);
    const { compressedOffset, compressedSize, count, batch } = clean.columns(0);
    const chunks = new Set(Array.from({ length: 12 }, (_, k) => Math.floor(k * (count - 1) / 11)));
    const copy = await FixtureCopy.of(name);
    const bytes = copy.blob(0);
    for (const chunk of chunks) {
      if ((compressedSize[chunk] as number) === 0) chunks.delete(chunk);
      const middle = (compressedOffset[chunk] as number) + ((compressedSize[chunk] as number) >> 1);
      // members of a batch share their stored bytes: flipping them twice restores them
      if (chunks.has(chunk)) bytes[middle] = (clean.blob(0)[middle] as number) ^ 0x20;
    }
    const { source, blobDir } = await copy.write(temp.path);
    const report = await check({ source, blobDir, chunks: true, folder: temp.path });
    const reported = new Set(
      report.findings.flatMap(({ kind, state }) => kind === "chunk" ? [Number(/^chunk (\d+)/.exec(state)?.[1])] : []),
    );
    for (const chunk of chunks) {
      assert.ok(reported.has(chunk), `chunk ${chunk} is not among ${lines(report).join("\n")}`);
    }
    for (const chunk of reported) assert.ok(chunks.has(chunk) || batch[chunk] !== NO_BATCH, `chunk ${chunk} is right`);
    const damaged = [...chunks].map((chunk) => compressedOffset[chunk] as number)
      .map((from) => ({ blob: copy.id(0), from, to: from + 1 }));
    const files = new Set([...copy.filesIn(damaged)].map(shown));
    for (const { state } of report.findings) {
      const file = /^chunk \d+ \((\/.*?)(?: and \d+ more)?\): (?:sha256|blake3|its bytes|Cannot|zstd|lz4)/.exec(state)
        ?.[1];
      assert.ok(file !== undefined && files.has(file), state);
    }
  });
}

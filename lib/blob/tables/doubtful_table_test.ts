/**
 * Doubtful chunk tables of a blob in a registry that goes up and down: whatever can be read is read, and never a wrong
 * byte.
 *
 * @module
 */
import assert from "node:assert/strict";
import { preadExact } from "../../../ffi/unistd.ts";
import { QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { fixtureOf, MemoryImage } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { openRegistry } from "../../backend/open_backend.ts";
import { ANONYMOUS } from "../../backend/registry/keychain.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import { BlobCache } from "../blob_cache.ts";
import type { TableSource } from "./table_source.ts";
import { blobPaths } from "../cache/blob_paths.ts";
import { freshOr } from "./doubtful_table.ts";

const fixture = fixtureOf("v6-prefetch-fs");
const image = await MemoryImage.open(fixture);
const [descriptor = assert.fail()] = image.bootstrap.blobs;
const [memory = assert.fail()] = image.blobs;
const stored = await Deno.readFile(`${fixture.directory}/blobs/${descriptor.id}`);
const { columns } = memory;

/** Runs a server once and returns the outcome of reading each chunk: "right", "wrong" or the code of the error. */
async function readChunks(dir: string, registry: FakeRegistry, embeddedMeta?: Uint8Array): Promise<string[]> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const backend = openRegistry({ host: registry.host, repo: "app", scheme: "http" }, { http, keychain: ANONYMOUS });
  await using cache = BlobCache.open(dir, QUIET);
  const blob = cache.acquire({
    ...{ descriptor, source: backend.blob(descriptor.id), records: () => image.bootstrap.chunkRecords() },
    ...(embeddedMeta === undefined ? {} : { embeddedMeta }),
  });
  const read = async (row: number) => {
    const offset = columns.uncompressedOffset[row] as number, length = columns.uncompressedSize[row] as number;
    try {
      await blob.ensure(offset, length, "on-demand");
    } catch (error) {
      return error instanceof NydusGdError ? error.code : messageOf(error);
    }
    const bytes = new Uint8Array(length);
    preadExact((await blob.open()).dataFd, bytes, offset);
    return Buffer.compare(bytes, await memory.chunk(row)) === 0 ? "right" : "wrong";
  };
  const outcomes: string[] = [];
  for (let row = 0; row < columns.count; row++) outcomes.push(await read(row));
  return outcomes;
}

/** Every chunk is right except `row`. */
const allBut = (row: number, outcome: string) =>
  Array.from({ length: columns.count }, (_, each) => each === row ? outcome : "right");
const all = allBut(-1, "");

const exists = (path: string) => Deno.lstatSync(path).isFile;

/** Damages the cached table so that it misplaces chunk 1: changes its stored offset, in entries of 16 bytes. */
function misleadChunk1(meta: string): void {
  const table = Deno.readFileSync(meta);
  table[24] = (table[24] as number) ^ 1;
  Deno.writeFileSync(meta, table);
}

Deno.test("a chunk that is corrupt at its source fails no other: the doubtful table is used offline", async () => {
  using dir = TempDir.make();
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(stored);
  const { meta, doubtfulMeta } = blobPaths(dir.path, id);
  const at = columns.compressedOffset[2] as number;
  registry.replaceBlob(id, stored.with(at, (stored[at] as number) ^ 1));
  assert.deepEqual(await readChunks(dir.path, registry), allBut(2, "corrupt"));
  assert.throws(() => exists(meta), Deno.errors.NotFound);
  const table = Deno.readFileSync(doubtfulMeta);

  await registry.goDown();
  for (let life = 0; life < 2; life++) {
    assert.deepEqual(await readChunks(dir.path, registry), allBut(2, "unavailable"));
    assert.ok(exists(doubtfulMeta), "it stays doubtful");
  }

  await registry.comeBack();
  registry.replaceBlob(id, stored);
  assert.deepEqual(await readChunks(dir.path, registry), all);
  assert.deepEqual(Deno.readFileSync(meta), table);
  assert.throws(() => exists(doubtfulMeta), Deno.errors.NotFound);
});

Deno.test("a wrong table is replaced by a fetched one, and shows no wrong byte if none can be fetched", async () => {
  using dir = TempDir.make();
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(stored);
  const { meta, data } = blobPaths(dir.path, id);
  await readChunks(dir.path, registry);
  const table = Deno.readFileSync(meta);
  misleadChunk1(meta);
  Deno.removeSync(data);
  assert.deepEqual(await readChunks(dir.path, registry), allBut(1, "corrupt"));
  await registry.goDown();
  assert.deepEqual(await readChunks(dir.path, registry), allBut(1, "unavailable"));
  await registry.comeBack();
  assert.deepEqual(await readChunks(dir.path, registry), all);
  assert.deepEqual(Deno.readFileSync(meta), table);
});

Deno.test("a table that came with the image and leads to wrong bytes is replaced by a fetched one", async () => {
  using dir = TempDir.make();
  await using registry = await FakeRegistry.start();
  const { meta } = blobPaths(dir.path, registry.addBlob(stored));
  await readChunks(dir.path, registry);
  misleadChunk1(meta);
  const embedded = Deno.readFileSync(meta);
  for (const { name } of [...Deno.readDirSync(dir.path)]) Deno.removeSync(`${dir.path}/${name}`);
  assert.deepEqual(await readChunks(dir.path, registry, embedded), allBut(1, "corrupt"));
  assert.deepEqual(await readChunks(dir.path, registry, embedded), all);
});

Deno.test("an invalid fetched table leaves the doubtful one, and is not requested repeatedly", async () => {
  using dir = TempDir.make();
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(stored);
  await readChunks(dir.path, registry);
  const { meta, doubtfulMeta } = blobPaths(dir.path, id);
  Deno.renameSync(meta, doubtfulMeta);
  registry.replaceBlob(id, stored.map(() => 0));
  const before = registry.requests.length;
  assert.deepEqual(await readChunks(dir.path, registry), all);
  assert.equal(registry.requests.slice(before).filter(({ headers }) => headers.range !== undefined).length, 1);
});

Deno.test("the fetch of a table waits a limited time for its source, and ends with its last waiter", async () => {
  const silent: TableSource = {
    ...{ id: "silent", descriptor, records: () => [] },
    read: () => new Promise(() => {}),
    size: () => new Promise(() => {}),
  };
  const ask = (from: TableSource) => from.read(0, 1);
  const doubtful = new Uint8Array(1);
  assert.equal(await freshOr(silent, ask, () => doubtful, 1), doubtful);
  const given = new AbortController();
  const asked = freshOr({ ...silent, signal: given.signal }, ask, () => doubtful);
  given.abort();
  await assert.rejects(asked, (error) => hasCode(error, "interrupted"));
});

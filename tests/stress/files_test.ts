/**
 * Fuzzes files that this program reads back: the cache of a blob, and its JSON state.
 *
 * @module
 */
import assert from "node:assert/strict";
import { NydusGdError } from "../../lib/base/errors.ts";
import { concatenate } from "../../lib/base/bytes.ts";
import type { Blob } from "../../lib/blob/blob.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { ImageNumbers } from "../../lib/image/lazy/records/image_numbers.ts";
import { HomePaths } from "../../lib/layer/record/layer_paths.ts";
import { readFinished } from "../../lib/layer/record/layer_record.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { GraphDriver } from "../../plugin/docker/driver.ts";
import { acquire, assertCached, ensureRows, QUIET } from "../support/blob/blob_setup.ts";
import { Mutator, type Seed } from "../support/fuzz/mutate_bytes.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";
import { RAFS_FIXTURES } from "../support/rafs/rafs_fixtures.ts";
import { ScriptedSource } from "../support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../support/blob/synthetic_blob.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Cache files as one input: their lengths, then their contents. */
function pack(files: readonly Uint8Array[]): Seed {
  const lengths = new Uint8Array(Uint32Array.from(files, ({ length }) => length).buffer);
  const fields = files.map((_, i) => ({ at: 4 * i, size: 4 as const }));
  let at = lengths.length;
  for (const { length } of files) {
    // header words, and the bits of a map behind its header
    for (let i = 0; i < Math.min(64, length - 4); i += 4) fields.push({ at: at + i, size: 4 });
    if (length > 4096) fields.push({ at: at + 4096, size: 4 });
    at += length;
  }
  return { bytes: concatenate([lengths, ...files]), fields };
}

function unpack(input: Uint8Array, count: number): Uint8Array[] {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  let at = 4 * count;
  return Array.from({ length: count }, (_, i) => {
    const length = 4 * i + 4 <= input.length ? view.getUint32(4 * i, true) : 0;
    const file = input.subarray(at, at + length);
    at += length;
    return file;
  });
}

const SUFFIXES = [".blob.data", ".blob.data.chunk_map", ".blob.verified", ".blob.meta"] as const;

/** The files of a complete cache. */
async function filled(fill: (cache: BlobCache) => Promise<unknown>, id: string): Promise<Seed> {
  using dir = TempDir.make();
  {
    await using cache = BlobCache.open(dir.path, QUIET);
    await fill(cache);
  }
  const read = (suffix: string) => Deno.readFile(dir.join(id + suffix)).catch(() => new Uint8Array());
  return pack(await Promise.all(SUFFIXES.map(read)));
}

/** Places the files of an input in a cache folder, serves every chunk, and removes them. */
async function served(
  scratch: string,
  id: string,
  input: Uint8Array,
  serve: (cache: BlobCache) => Promise<unknown>,
): Promise<void> {
  const dir = `${scratch}/cache`;
  await Deno.mkdir(dir);
  try {
    for (const [i, file] of unpack(input, SUFFIXES.length).entries()) {
      if (file.length > 0) await Deno.writeFile(`${dir}/${id}${SUFFIXES[i]}`, file);
    }
    await using cache = BlobCache.open(dir, QUIET);
    await serve(cache);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const SIZES = Array.from({ length: 12 }, (_, i) => 100 + 317 * i);
let v5: Promise<SyntheticBlob> | undefined;
const synthetic = () => v5 ??= makeSyntheticBlob({ sizes: SIZES, compressor: "zstd" });

async function serveV5(cache: BlobCache): Promise<void> {
  const blob = await synthetic();
  const { length } = blob.records;
  const handle = acquire(cache, blob, new ScriptedSource(blob.bytes));
  await ensureRows(handle, blob, [0, length - 1]);
  for (let row = 0; row < length; row++) await assertCached(handle, blob, row);
}

fuzz(import.meta, {
  name: "cache of a v5 blob",
  inputs: async () => new Mutator([await filled(serveV5, "synthetic")]),
  open: (scratch) => (input) => served(scratch, "synthetic", input, serveV5),
  // files are written, synced and read
  oneIn: 40,
});

const BLOB_ID = "my-blob";
let v6: Promise<{ bootstrap: Uint8Array; blob: Uint8Array<ArrayBuffer>; plain: Uint8Array }> | undefined;

/** The fixture, and the expected contents of its cache file. */
function fixture() {
  return v6 ??= (async () => {
    const bootstrap = await Deno.readFile(`${RAFS_FIXTURES}/v6-blob-id/bootstrap`);
    const blob = await Deno.readFile(`${RAFS_FIXTURES}/blobs/${BLOB_ID}`);
    using dir = TempDir.make();
    await using cache = BlobCache.open(dir.path, QUIET);
    await ensureAll(openV6(cache, bootstrap, blob));
    return { bootstrap, blob, plain: await Deno.readFile(dir.join(`${BLOB_ID}.blob.data`)) };
  })();
}

function openV6(cache: BlobCache, bootstrap: Uint8Array, bytes: Uint8Array<ArrayBuffer>): Blob {
  const image = openBootstrap(bootstrap);
  const [descriptor] = image.blobs;
  assert.ok(descriptor !== undefined);
  return cache.acquire({ descriptor, source: new ScriptedSource(bytes), records: () => image.chunkRecords() });
}

async function ensureAll(blob: Blob): Promise<void> {
  const { chunks } = await blob.open();
  const last = chunks.count - 1;
  const end = (chunks.uncompressedOffset[last] as number) + (chunks.uncompressedSize[last] as number);
  await blob.ensure(0, end, "on-demand");
}

async function serveV6(cache: BlobCache): Promise<void> {
  const { bootstrap, blob: bytes, plain } = await fixture();
  const blob = openV6(cache, bootstrap, bytes);
  await ensureAll(blob);
  const { chunks, path } = await blob.open();
  const cached = await Deno.readFile(path ?? assert.fail());
  for (let i = 0; i < chunks.count; i++) {
    const from = chunks.uncompressedOffset[i] as number, to = from + (chunks.uncompressedSize[i] as number);
    assert.deepEqual(cached.subarray(from, to), plain.subarray(from, to));
  }
}

fuzz(import.meta, {
  name: "cache of a v6 blob",
  inputs: async () => {
    const { bootstrap, blob } = await fixture();
    return new Mutator([await filled((cache) => ensureAll(openV6(cache, bootstrap, blob)), BLOB_ID)]);
  },
  open: (scratch) => (input) => served(scratch, BLOB_ID, input, serveV6),
  oneIn: 40,
});

const LAYER = { diffId: `sha256:${"5".repeat(64)}`, sizeBytes: 5, opaque: false };
const ROOT = { mode: 0o755, uid: 0, gid: 0 };
const STATES = [
  LAYER,
  { ...LAYER, bootstrap: { path: "image/image.boot", root: ROOT } },
  { next: 3, numbers: [["a", 1], ["constructor", 2]] },
  { home: "/var/lib/docker/nydus-gd", options: { "fs-driver": "fuse", config: "/c.json" } },
];

fuzz(import.meta, {
  name: "state files",
  inputs: () =>
    new TextMutator(STATES.map((state) => JSON.stringify(state)), {
      json: true,
      words: ["diffId", "sizeBytes", "opaque", "bootstrap", "next", "numbers", "home", "options", "image.boot"],
    }),
  oneIn: 4,
  open: (scratch) => {
    const home = new HomePaths(`${scratch}/home`);
    const { root, record } = home.layer("base");
    Deno.mkdirSync(root, { recursive: true });
    const state = `${scratch}/state.json`;
    const refused = new NydusGdError("environment", "Cannot open layers: not in this test");
    const openStore = (path: string) => {
      assert.equal(typeof path, "string");
      return Promise.reject(refused);
    };
    return async (text) => {
      Deno.writeTextFileSync(record, text);
      Deno.writeTextFileSync(state, text);
      const readers = [
        async () => {
          const layer = await readFinished(home.layer("base"));
          assert.ok(layer?.bootstrap === undefined || /^(image\/)?image\.boot$/.test(layer.bootstrap.path));
        },
        async () => void await (await ImageNumbers.open(record)).of("a"),
        async () => void await (await GraphDriver.resume({ stateFile: state, openStore }))[Symbol.asyncDispose](),
      ];
      let refusal: unknown;
      let taken = 0;
      for (const read of readers) {
        try {
          await read();
          taken++;
        } catch (error) {
          if (!(error instanceof NydusGdError)) throw error;
          refusal = error;
        }
      }
      if (taken === 0) throw refusal;
    };
  },
});

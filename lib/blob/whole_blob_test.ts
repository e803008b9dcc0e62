/**
 * Blobs of a registry that sends whole blobs only, whatever range is asked for.
 *
 * @module
 */
import assert from "node:assert/strict";
import { acquire, assertCached, ensureRows, isReady, QUIET } from "../../tests/support/blob/blob_setup.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { OpenedBackend } from "../../tests/support/backend/backend_world.ts";
import type { Fault } from "../../tests/support/backend/faults.ts";
import { FileServer } from "../../tests/support/backend/file_server.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { thrownBy } from "../../tests/support/thrown_by.ts";
import { until } from "../../tests/support/until.ts";
import { DEFAULT_FETCH_OPTIONS } from "../backend/http/fetch_options.ts";
import { HttpClient } from "../backend/http/http_client.ts";
import { openRegistry } from "../backend/open_backend.ts";
import { ANONYMOUS } from "../backend/registry/keychain.ts";
import type { Blob } from "./blob.ts";
import { BlobCache } from "./blob_cache.ts";

/** Stored bytes after which ranges are not cut out of a whole blob. */
const FAR = 4 << 20;

/** Twelve chunks of a megabyte: the last ones begin far into the blob. */
const SIZES = Array<number>(12).fill(1 << 20);

class Setup implements AsyncDisposable {
  readonly blob: Blob;
  readonly id: string;

  private constructor(
    readonly dir: TempDir,
    readonly registry: FakeRegistry,
    readonly cache: BlobCache,
    readonly synthetic: SyntheticBlob,
    private readonly http: HttpClient,
    private readonly quiet: AsyncDisposable,
  ) {
    const { descriptor, records, bytes } = synthetic;
    this.id = registry.addBlob(bytes);
    const location = { host: registry.host, repo: "app", scheme: "http" } as const;
    const source = openRegistry(location, { http, keychain: ANONYMOUS }).blob(this.id);
    this.blob = cache.acquire({ descriptor, source, records: () => records });
  }

  static async make(): Promise<Setup> {
    const quiet = await quietLogs();
    const synthetic = await makeSyntheticBlob({ sizes: SIZES, compressor: "none" });
    const dir = TempDir.make();
    const cache = BlobCache.open(dir.path, { ...QUIET, parallelRequests: 2 });
    const http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
    return new Setup(dir, await FakeRegistry.start(), cache, synthetic, http, quiet);
  }

  /** Requests for the blob without a range. */
  get wholeRequests(): number {
    return this.registry.requests.filter(({ headers }) => headers.range === undefined).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache.close();
    await this.registry[Symbol.asyncDispose]();
    this.http[Symbol.dispose]();
    this.dir[Symbol.dispose]();
    await this.quiet[Symbol.asyncDispose]();
  }
}

Deno.test("a blob whose server ignores ranges is transferred once, and every chunk of it is kept", async () => {
  await using setup = await Setup.make();
  const { registry, blob, synthetic, dir } = setup;
  registry.lasting = { kind: "whole" };
  await Promise.all([ensureRows(blob, synthetic, [10]), ensureRows(blob, synthetic, [6])]);
  for (const row of [6, 10]) await assertCached(blob, synthetic, row);
  await until("every chunk is in the cache", async () => {
    const ready = await Promise.all(SIZES.map((_, row) => isReady(blob, row)));
    return ready.every(Boolean);
  });
  for (const row of SIZES.keys()) await assertCached(blob, synthetic, row);
  assert.equal(setup.wholeRequests, 1);
  await until("the transfer's copy is given up", () => !blob.stats().isWhole);
  assert.equal(unnamedFiles(dir.path, synthetic.bytes.length), 0);
});

/** Counts this process's open files without a name in a folder, of that size. */
function unnamedFiles(folder: string, size: number): number {
  const paths = Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => `/proc/self/fd/${name}`);
  return paths.filter((path) => {
    try {
      return Deno.readLinkSync(path).startsWith(`${folder}/#`) && Deno.statSync(path).size === size;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false; // closed meanwhile
      throw error;
    }
  }).length;
}

Deno.test("readers wait only for what precedes their data, and take no other blob's turn", async () => {
  await using setup = await Setup.make();
  const { registry, blob, synthetic, cache } = setup;
  const held = Promise.withResolvers<void>();
  registry.lasting = { kind: "whole", hold: { after: 8 << 20, until: held.promise } };
  const late = [8, 9, 10, 11].map((row) => ensureRows(blob, synthetic, [row]));
  await ensureRows(blob, synthetic, [6]);
  assert.equal(blob.stats().isWhole, true);
  await until("what has arrived is in a file", () => unnamedFiles(setup.dir.path, 8 << 20) === 1);
  const other = await makeSyntheticBlob({ id: "0".repeat(64), sizes: [1000] });
  const otherBlob = acquire(cache, other, new ScriptedSource(other.bytes));
  await ensureRows(otherBlob, other, [0]);
  await assertCached(otherBlob, other, 0);
  assert.equal(await isReady(blob, 9), false);
  held.resolve();
  await Promise.all(late);
  for (const row of [8, 9, 10, 11]) await assertCached(blob, synthetic, row);
});

Deno.test("a reader that gives up does not end the transfer", async () => {
  await using setup = await Setup.make();
  const { registry, blob, synthetic } = setup;
  const held = Promise.withResolvers<void>();
  registry.lasting = { kind: "whole", hold: { after: FAR, until: held.promise } };
  await blob.open();
  const reader = new AbortController();
  const read = ensureRows(blob, synthetic, [11], "on-demand", reader.signal);
  await until("the transfer has begun", () => blob.stats().bytesFetched >= FAR);
  reader.abort();
  await assert.rejects(read, /the caller cancelled/);
  held.resolve();
  await ensureRows(blob, synthetic, [11]);
  assert.equal(setup.wholeRequests, 1);
});

Deno.test("a transfer of wrong bytes shows none of them", async () => {
  await using setup = await Setup.make();
  const { registry, blob, synthetic, id } = setup;
  registry.lasting = { kind: "whole" };
  const damaged = synthetic.bytes.slice();
  damaged[9 << 20] = ~(damaged[9 << 20] as number);
  registry.replaceBlob(id, damaged);
  await assert.rejects(ensureRows(blob, synthetic, [9]), /Cannot read chunk 9 /);
  assert.equal(await isReady(blob, 9), false);
  await ensureRows(blob, synthetic, [10]);
  await assertCached(blob, synthetic, 10);
});

Deno.test("a transfer that breaks off fails its readers, and the next read begins another", async () => {
  await using setup = await Setup.make();
  const { registry, blob, synthetic } = setup;
  registry.faults.push({ kind: "whole" }, { kind: "truncate", keep: 5 << 20 });
  registry.lasting = { kind: "reset" };
  const error = await thrownBy(() => ensureRows(blob, synthetic, [11]));
  assert.match(String(error), /Cannot read blob/);
  registry.lasting = { kind: "whole" };
  await ensureRows(blob, synthetic, [11]);
  await assertCached(blob, synthetic, 11);
});

Deno.test("a file server that ignores ranges is read in the same way", async () => {
  await using _quiet = await quietLogs();
  await using server = await FileServer.start();
  const synthetic = await makeSyntheticBlob({ sizes: SIZES, compressor: "none" });
  const { descriptor, records } = synthetic;
  server.files.set("/blob", synthetic.bytes);
  server.faults.push(...Array<Fault>(20).fill({ kind: "whole" }));
  using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}` });
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const blob = cache.acquire({ descriptor, source: opened.backend.blob("blob"), records: () => records });
  await ensureRows(blob, synthetic, [11]);
  await assertCached(blob, synthetic, 11);
});

Deno.test("closing the cache ends a transfer", async () => {
  const held = Promise.withResolvers<void>();
  await using setup = await Setup.make();
  const { registry, blob, synthetic, cache } = setup;
  registry.lasting = { kind: "whole", hold: { after: FAR, until: held.promise } };
  const read = thrownBy(() => ensureRows(blob, synthetic, [11]));
  await until("the transfer has begun", () => blob.stats().bytesFetched >= FAR);
  await cache.close();
  assert.match(String(await read), /is being closed|was released/);
  held.resolve();
});

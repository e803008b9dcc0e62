import assert from "node:assert/strict";
import { makeSyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { turn, until } from "../../../tests/support/until.ts";
import { chunkColumnsFromRecords } from "../../rafs/blob/blob_meta.ts";
import { CacheFile } from "../cache/cache_file.ts";
import { betweenEpochs, newSyncState } from "../cache/lost_writes.ts";
import { Decoder } from "./decoder.ts";

Deno.test("the first Worker starts before there is a job, and ends if none comes", async () => {
  using decoder = new Decoder({ workers: 2, inlineBytes: 0, idleMs: 1 });
  for (let blob = 0; blob < 3; blob++) decoder.prepare("blake3"); // as when several blobs are opened at the same time
  await until("a Worker starts", () => decoder.threads > 0);
  assert.equal(decoder.threads, 1);
  await until("it ends", () => decoder.threads === 0);
  using inline = new Decoder({ workers: 0, inlineBytes: 0, idleMs: 1 });
  inline.prepare("blake3");
  await turn();
  assert.equal(inline.threads, 0);
});

/** A blob of one chunk, and where it is decoded to. */
async function makeTarget(file: CacheFile) {
  const { bytes, descriptor, records } = await makeSyntheticBlob({ sizes: [50_000], compressor: "zstd" });
  const target = {
    key: 1,
    columns: chunkColumnsFromRecords(descriptor, records),
    ready: new Uint8Array(new SharedArrayBuffer(1)),
    synced: newSyncState(1),
    dataFd: file.fd.raw,
    dataSize: 0,
    compressor: descriptor.compressor,
    digester: descriptor.digester,
  };
  return { bytes, target };
}

/** Makes the Workers of this process fail that are started while it exists. */
class FailingWorkers implements Disposable {
  readonly #workers: Worker[] = [];
  readonly #original = globalThis.Worker;

  constructor() {
    const workers = this.#workers;
    globalThis.Worker = class extends this.#original {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        workers.push(this);
      }
    };
  }

  /** Has each receive a message on which it throws. */
  fail(): void {
    for (const worker of this.#workers.splice(0)) worker.postMessage({ type: "target" });
  }

  [Symbol.dispose](): void {
    globalThis.Worker = this.#original;
  }
}

Deno.test("a job whose Worker fails is done by another", async () => {
  using workers = new FailingWorkers();
  using temp = TempDir.make();
  using file = CacheFile.open(temp.join("data"));
  using decoder = new Decoder({ workers: 1, inlineBytes: 0, idleMs: 60_000 });
  const { bytes, target } = await makeTarget(file);
  const stored = new Uint8Array(new SharedArrayBuffer(bytes.length));
  stored.set(bytes);
  for (let round = 0; round < 3; round++) {
    target.ready[0] = 0;
    assert.deepEqual(await decoder.decode(target, { rows: [0], stored, offset: 0 }, "on-demand"), []);
    assert.equal(target.ready[0], 0x80);
    workers.fail();
    // from the second round on it has failed before the next job
    for (let turns = 0; turns < 100 * round; turns++) await turn();
  }
  assert.equal(decoder.threads, 1);
});

Deno.test("Workers start with the first large job, end when idle, and start again", async () => {
  using temp = TempDir.make();
  using file = CacheFile.open(temp.join("data"));
  using decoder = new Decoder({ workers: 2, inlineBytes: 0, idleMs: 1 });
  const { bytes, target } = await makeTarget(file);
  assert.equal(decoder.threads, 0);
  for (let round = 0; round < 2; round++) {
    target.ready[0] = 0;
    assert.deepEqual(await decoder.decode(target, { rows: [0], stored: bytes.slice(), offset: 0 }, "on-demand"), []);
    assert.equal(target.ready[0], 0x80);
    assert.equal(decoder.threads, 1);
    await until("the Worker ends", () => decoder.threads === 0);
  }
  await betweenEpochs(target.synced, async () => {
    target.ready[0] = 0;
    assert.deepEqual(await decoder.decode(target, { rows: [0], stored: bytes.slice(), offset: 0 }, "on-demand"), []);
    assert.equal(target.ready[0], 0, "the disk may lose what a Worker writes now");
  });
});

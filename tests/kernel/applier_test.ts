import { deepEqual, equal, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { tarEntry } from "../../lib/archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../lib/archive/tar_writer.ts";
import { fromByteString } from "../../lib/base/bytes.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { Applier } from "../../lib/layer/apply/applier.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";

function fileOf(name: string, sizeBytes: number): Uint8Array[] {
  const content = new Uint8Array(sizeBytes).fill(0x78);
  const header = encodeTarHeader(tarEntry({ type: "file", name: fromByteString(name), sizeBytes }));
  return [header, content, tarPadding(sizeBytes).slice()];
}

/** Pieces of 64 KiB, each with its own memory. */
async function* piecesOf(parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for await (const piece of new Blob(parts as BlobPart[]).stream()) yield piece;
}

/** A body that never comes. */
const silent = () => new ReadableStream<Uint8Array>({ pull: () => new Promise<void>(() => {}) });

rootTest("concurrent layers are unpacked by a few Workers, each with its own digest", async () => {
  using temp = TempDir.make();
  await using applier = new Applier();
  const layers = Array.from({ length: 6 }, (_, i) => [...fileOf("image.boot", 300_000 * i), TAR_END]);
  const applied = await Promise.all(layers.map((parts, i) => {
    Deno.mkdirSync(temp.join(`${i}`));
    return applier.apply(temp.join(`${i}`), ReadableStream.from(piecesOf(parts)));
  }));
  for (const [i, parts] of layers.entries()) {
    const digest = createHash("sha256");
    for (const part of parts) digest.update(part);
    equal(applied[i]?.diffId, `sha256:${digest.digest("hex")}`);
    equal(applied[i]?.sizeBytes, 300_000 * i);
    equal(Deno.statSync(temp.join(`${i}/image.boot`)).size, 300_000 * i);
  }
});

rootTest("an invalid tar is an error after its body was read to the end", async () => {
  using temp = TempDir.make();
  await using applier = new Applier();
  let read = 0;
  async function* body() {
    for await (const piece of piecesOf([fromByteString("not a tar\n".repeat(1_000_000))])) {
      read += piece.length;
      yield piece;
    }
  }
  await rejects(applier.apply(temp.path, ReadableStream.from(body())), (e) => hasCode(e, "invalid-image"));
  equal(read, 10_000_000);
  deepEqual([...Deno.readDirSync(temp.path)], []);
  const layer = await applier.apply(temp.path, ReadableStream.from(piecesOf([...fileOf("f", 5), TAR_END])));
  equal(layer.sizeBytes, 5);
});

rootTest("a body that fails is an error, not a layer", async () => {
  using temp = TempDir.make();
  await using applier = new Applier();
  async function* body() {
    yield* piecesOf(fileOf("f", 100_000));
    throw new Error("connection reset");
  }
  await rejects(applier.apply(temp.path, ReadableStream.from(body())), (e) => hasCode(e, "interrupted"));
});

rootTest("nothing is written after an abort, even if the body never ends", async () => {
  using temp = TempDir.make();
  await using applier = new Applier();
  const abort = new AbortController();
  let files = 0;
  async function* endless() {
    for (;;) {
      yield* piecesOf(fileOf(`f${files++}`, 70_000));
      if (files === 100) abort.abort(new Error("removed"));
    }
  }
  await rejects(applier.apply(temp.path, ReadableStream.from(endless()), abort.signal), /removed/);
  await Deno.remove(temp.path, { recursive: true });
  await Deno.mkdir(temp.path);
  // A round trip through the same Worker: work that was queued before would be done by now.
  await Deno.mkdir(temp.join("other"));
  await applier.apply(temp.join("other"), ReadableStream.from(piecesOf([...fileOf("g", 1), TAR_END])));
  deepEqual([...Deno.readDirSync(temp.path)].map(({ name }) => name), ["other"]);
});

rootTest("an abort ends the unpacking while the body is stalled", async () => {
  using temp = TempDir.make();
  await using applier = new Applier();
  const abort = new AbortController();
  const applied = applier.apply(temp.path, silent(), abort.signal);
  abort.abort(new Error("removed"));
  await rejects(applied, /removed/);
});

rootTest("disposal ends running tasks and lets the process exit", async () => {
  using temp = TempDir.make();
  const applier = new Applier();
  const failed = rejects(applier.apply(temp.path, silent()), /stopping/);
  await applier[Symbol.asyncDispose]();
  await failed;
});

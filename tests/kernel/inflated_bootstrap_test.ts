/**
 * A small layer whose bootstrap is large once decompressed: the memory that commands use for it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tarEntry } from "../../lib/archive/tar.ts";
import { encodeTarHeader, TAR_END } from "../../lib/archive/tar_writer.ts";
import { BootstrapWriter } from "../../lib/rafs/v6/writer.ts";
import { costOf } from "../bench/process_cost.ts";
import { commandLine } from "../support/process/command.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Size of the bootstrap, nearly all of it unreferenced zeros: 512 bytes per byte of its gzip. */
const BOOTSTRAP_BYTES = 512 << 20;
const PART_BYTES = 1 << 20;
/** Limit of resident memory. */
const MOST_MEGABYTES = 250;

function* layerParts(): Generator<Uint8Array<ArrayBuffer>> {
  const writer = new BootstrapWriter({ chunkSize: 0x10_0000, compressor: "none", digester: "sha256" });
  writer.addInode({ mode: 0o40755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 });
  const bootstrap = writer.finish([]);
  const name = new TextEncoder().encode("image/image.boot");
  yield encodeTarHeader(tarEntry({ type: "file", name, mode: 0o444, sizeBytes: BOOTSTRAP_BYTES }));
  yield bootstrap;
  const zeros = new Uint8Array(PART_BYTES);
  for (let left = BOOTSTRAP_BYTES - bootstrap.length; left > 0; left -= PART_BYTES) yield zeros.subarray(0, left);
  yield new Uint8Array(TAR_END);
}

Deno.test("a highly compressed bootstrap is read without memory for its full size", async () => {
  using temp = TempDir.make();
  const layer = temp.join("layer.tar.gz");
  const packed = ReadableStream.from(layerParts()).pipeThrough(new CompressionStream("gzip"));
  await Deno.writeFile(layer, packed);
  for (const command of ["inspect", "check"]) {
    const [program, ...words] = commandLine([command, layer]);
    const { peakMegabytes } = await costOf(program, words);
    assert.ok(peakMegabytes <= MOST_MEGABYTES, `${command} took ${peakMegabytes} MB`);
  }
});

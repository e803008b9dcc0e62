/**
 * The bootstrap behind what a user names: a bootstrap file, a data blob that carries its bootstrap, or a layer tar
 * (plain or gzip) that holds one.
 *
 * A bootstrap file is used where it is. Anything else is unpacked to a file of the folder that the caller gives.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { O, open } from "../../ffi/fcntl.ts";
import { preadExact } from "../../ffi/unistd.ts";
import { zstdDecompress } from "../../ffi/libzstd.ts";
import { BLOCK_SIZE, TarError } from "../archive/tar.ts";
import { TarReader } from "../archive/tar_reader.ts";
import { NydusGdError } from "../base/errors.ts";
import { EROFS_SUPER_OFFSET, sniffVersion } from "../rafs/detect.ts";
import { extractBootstrap, MAX_BOOTSTRAP } from "../rafs/toc.ts";

/** A bootstrap that can be mapped. */
export interface FoundBootstrap {
  readonly path: string;
  /** Id of the blob that carries it, when the file is named after one: `<id>`, or nydusd's `<id>.image.boot`. */
  readonly container: string | undefined;
}

/** Where a bootstrap is in a layer, newest convention first. */
const NAMES_IN_LAYER = ["image/image.boot", "image.boot"];

/** A file named after a blob. */
const BLOB_FILE = /^([0-9a-f]{64})(?:\.|$)/;

/** Bytes that tell what a file is: an EROFS super block ends the longest look. */
const HEAD_BYTES = EROFS_SUPER_OFFSET + 4;

/**
 * Finds the bootstrap in the file `path`.
 *
 * @param unpackTo file that is written when the bootstrap has to be unpacked
 * @throws {NydusGdError} "not-found", "invalid-image" when the file is none of the known forms
 */
export async function findBootstrap(path: string, unpackTo: string): Promise<FoundBootstrap> {
  const { size, isFile } = await statFile(path);
  if (!isFile) throw new NydusGdError("usage", `Cannot read bootstrap ${path}: it is not a file`);
  const found = { path, container: BLOB_FILE.exec(basename(path))?.[1] };
  using file = open(path, O.RDONLY);
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    preadExact(file, bytes, offset);
    return bytes;
  };
  const head = read(0, Math.min(size, HEAD_BYTES));
  if (sniffVersion(head) !== undefined) return found;
  const bootstrap = isTarStart(head) || isGzip(head)
    ? await bootstrapOfLayer(path, isGzip(head))
    : await extractBootstrap((offset, length) => Promise.resolve(read(offset, length)), size, CODECS);
  if (bootstrap === undefined) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot find a bootstrap in ${path}: it is neither a RAFS bootstrap, ` +
        "nor a data blob that carries one, nor a layer that holds one",
    );
  }
  await Deno.writeFile(unpackTo, bootstrap, { mode: 0o600 });
  return { ...found, path: unpackTo };
}

/**
 * The bootstrap in a layer's tar.
 *
 * @throws {TarError} on a damaged tar; {NydusGdError} "invalid-image" on damaged gzip
 */
export async function bootstrapOfTar(tar: ReadableStream<Uint8Array>): Promise<Uint8Array | undefined> {
  let name = "";
  let wanted: Uint8Array | undefined;
  const found = new Map<string, Uint8Array>();
  const reader = new TarReader({
    entry(entry) {
      name = new TextDecoder().decode(entry.name).replace(/^\.?\/+/, "");
      wanted = undefined;
      if (entry.type !== "file" || !NAMES_IN_LAYER.includes(name)) return;
      if (entry.sizeBytes > MAX_BOOTSTRAP) throw new TarError(`Cannot read bootstrap: it has ${entry.sizeBytes} bytes`);
      wanted = new Uint8Array(entry.sizeBytes);
    },
    data: (piece, offset) => wanted?.set(piece, offset),
    endEntry() {
      if (wanted !== undefined) found.set(name, wanted);
    },
  });
  for await (const piece of tar) reader.push(piece);
  reader.finish();
  return NAMES_IN_LAYER.map((each) => found.get(each)).find((each) => each !== undefined);
}

const CODECS = {
  decompress(compressor: string, data: Uint8Array, uncompressedSize: number): Uint8Array {
    if (compressor !== "zstd") {
      throw new NydusGdError("unsupported", `Cannot read inlined bootstrap: it is compressed with ${compressor}`);
    }
    const plain = new Uint8Array(uncompressedSize);
    return plain.subarray(0, zstdDecompress(data, plain));
  },
  sha256: (data: Uint8Array) => createHash("sha256").update(data).digest(),
};

async function bootstrapOfLayer(path: string, gzipped: boolean): Promise<Uint8Array | undefined> {
  using file = await Deno.open(path);
  const stream = gzipped ? file.readable.pipeThrough(new DecompressionStream("gzip")) : file.readable;
  try {
    return await bootstrapOfTar(stream);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // what DecompressionStream throws
    throw new NydusGdError("invalid-image", `Cannot read layer ${path}: its gzip is damaged`, { cause: error });
  }
}

async function statFile(path: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NydusGdError("not-found", `Cannot read bootstrap ${path}: there is no such file`, { cause: error });
  }
}

function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/** A data blob ends in tar headers, a layer starts with one. */
function isTarStart(head: Uint8Array): boolean {
  if (head.length < BLOCK_SIZE) return false;
  return new TextDecoder("latin1").decode(head.subarray(257, 262)) === "ustar";
}

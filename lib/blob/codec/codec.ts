/**
 * Decompression and digests, computed synchronously in the calling thread.
 *
 * @module
 */
import { createBLAKE3 } from "hash-wasm";
import { type Blake3, loadBlake3 } from "../../../ffi/libblake3.ts";
import { MissingLibraryError } from "../../../ffi/libc.ts";
import { lz4DecompressBlock } from "../../../ffi/liblz4.ts";
import { gunzip } from "../../../ffi/libz.ts";
import { zstdDecompress } from "../../../ffi/libzstd.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { nodeCrypto } from "../../base/node_modules.ts";
import type { Compressor, Digester } from "../../rafs/bootstrap.ts";
import type { GzipStarts } from "../../rafs/blob/chunk_table.ts";
import { inflateSlice } from "./gzip_start.ts";

/** A starting point in the middle of a gzip stream. */
export interface GzipStart {
  readonly starts: GzipStarts;
  readonly row: number;
}

/**
 * Decompresses `stored` into `plain`, filling it exactly.
 *
 * @param start required where `stored` is a slice of a gzip layer
 * @throws {NydusGdError} "corrupt" for malformed data or any other length than that of `plain`, "environment" when the
 * codec's library is missing
 */
export function decompressInto(
  compressor: Compressor,
  stored: Uint8Array,
  plain: Uint8Array,
  start?: GzipStart,
): void {
  let written: number;
  try {
    written = start === undefined
      ? decompress(compressor, stored, plain)
      : inflateSlice(start.starts, start.row, stored, plain);
  } catch (error) {
    if (error instanceof MissingLibraryError) {
      throw new NydusGdError("environment", error.message, { hint: error.hint, cause: error });
    }
    throw new NydusGdError("corrupt", messageOf(error), { cause: error });
  }
  if (written !== plain.length) {
    throw new NydusGdError("corrupt", `Cannot decompress ${compressor}: ${written} bytes, expected ${plain.length}`);
  }
}

function decompress(compressor: Compressor, stored: Uint8Array, plain: Uint8Array): number {
  switch (compressor) {
    case "none":
      if (stored.length === plain.length) plain.set(stored);
      return stored.length;
    case "lz4_block":
      return lz4DecompressBlock(stored, plain);
    case "zstd":
      return zstdDecompress(stored, plain);
    case "gzip":
      return gunzip(stored, plain);
  }
}

let blake3: Blake3 | undefined;

/**
 * Prepares {@link digest} in this thread: where there is no library for blake3, WebAssembly must be compiled first.
 *
 * @param digester the only one needed; without it, all are prepared
 */
export async function prepareDigests(digester: Digester = "blake3"): Promise<void> {
  if (digester === "blake3") blake3 ??= loadBlake3() ?? await compileBlake3();
}

async function compileBlake3(): Promise<Blake3> {
  const hasher = await createBLAKE3();
  return (data) => new Uint8Array(hasher.init().update(data).digest("binary"));
}

/** Returns the 32-byte digest of a chunk. Requires {@link prepareDigests}. */
export function digest(digester: Digester, plain: Uint8Array): Uint8Array {
  if (digester === "sha256") return nodeCrypto().createHash("sha256").update(plain).digest();
  if (blake3 === undefined) throw new NydusGdError("internal", "Cannot digest: blake3 is not prepared");
  return blake3(plain);
}

/**
 * Decompressing and digesting, synchronously, in the thread that asks.
 *
 * @module
 */
import { createBLAKE3, type IHasher } from "hash-wasm";
import { MissingLibraryError } from "../../../ffi/libc.ts";
import { lz4DecompressBlock } from "../../../ffi/liblz4.ts";
import { gunzip } from "../../../ffi/libz.ts";
import { zstdDecompress } from "../../../ffi/libzstd.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { nodeCrypto } from "../../base/node_modules.ts";
import type { Compressor, Digester } from "../../rafs/bootstrap.ts";
import type { GzipStarts } from "../../rafs/chunk_table.ts";
import { inflateSlice } from "./gzip_start.ts";

/** A place in the middle of a gzip stream. */
export interface GzipStart {
  readonly starts: GzipStarts;
  readonly row: number;
}

/**
 * Fills `plain` from `stored`.
 *
 * @param start where `stored` is a slice of a gzip layer
 * @throws {NydusGdError} "corrupt" when it is malformed or does not give exactly the bytes that were expected,
 * "environment" when the codec's library is missing
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

let blake3: IHasher | undefined;

/**
 * Makes {@link digest} usable in this thread: blake3 is WebAssembly and has to be compiled first.
 *
 * @param digester the only one that is needed; without it all are
 */
export async function prepareDigests(digester: Digester = "blake3"): Promise<void> {
  if (digester === "blake3") blake3 ??= await createBLAKE3();
}

/** The 32 bytes of a chunk's digest. Needs {@link prepareDigests}. */
export function digest(digester: Digester, plain: Uint8Array): Uint8Array {
  if (digester === "sha256") return nodeCrypto().createHash("sha256").update(plain).digest();
  if (blake3 === undefined) throw new NydusGdError("internal", "Cannot digest: blake3 is not prepared");
  return blake3.init().update(plain).digest("binary");
}

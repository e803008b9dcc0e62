/**
 * BLAKE3 by its authors' C library, which uses the processor's vector instructions: ten times as fast as WebAssembly.
 *
 * The library is optional. The executable carries one, beside its modules; `scripts/bootstrap.sh` compiles it from
 * Debian's copy of the source, and code that runs from source finds it there. Otherwise the system's is taken, which
 * Debian 14 is the first to have.
 *
 * Source: blake3.h 1.3.1 to 1.8.2.
 *
 * @module
 */
import { load, MissingLibraryError } from "./libc.ts";

const FILE = "libblake3.so";

/** Beside the modules of a build; where scripts/bootstrap.sh puts it, if this is the source tree. */
const OURS = new URL(import.meta.url.endsWith(".ts") ? `../.tools/lib/${FILE}` : FILE, import.meta.url).pathname;

const SYMBOLS = {
  blake3_hasher_init: { parameters: ["buffer"], result: "void" }, // void blake3_hasher_init(blake3_hasher *self)
  // void blake3_hasher_update(blake3_hasher *self, const void *input, size_t input_len)
  blake3_hasher_update: { parameters: ["buffer", "buffer", "usize"], result: "void" },
  // void blake3_hasher_finalize(const blake3_hasher *self, uint8_t *out, size_t out_len)
  blake3_hasher_finalize: { parameters: ["buffer", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Where it is looked for, in this order. */
const LIBRARIES = [load(decodeURIComponent(OURS), "libblake3-0", SYMBOLS), load(`${FILE}.0`, "libblake3-0", SYMBOLS)];

/** More than sizeof(blake3_hasher), which is 1912. */
const HASHER_BYTES = 4096;
const DIGEST_BYTES = 32;

/** Returns the 32-byte digest of `data`. */
export type Blake3 = (data: Uint8Array) => Uint8Array<ArrayBuffer>;

/** Loads the library for this thread; undefined if there is none. */
export function loadBlake3(): Blake3 | undefined {
  for (const library of LIBRARIES) {
    try {
      return digestBy(library());
    } catch (error) {
      if (!(error instanceof MissingLibraryError)) throw error;
    }
  }
  return undefined;
}

function digestBy(library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"]): Blake3 {
  const hasher = new Uint8Array(HASHER_BYTES);
  return (data) => {
    const digest = new Uint8Array(DIGEST_BYTES);
    library.blake3_hasher_init(hasher);
    library.blake3_hasher_update(hasher, data, BigInt(data.length));
    library.blake3_hasher_finalize(hasher, digest, BigInt(DIGEST_BYTES));
    return digest;
  };
}

/**
 * The memory allocator of the C library, which the runtime uses for everything outside of its own heaps.
 *
 * Source: malloc.h of glibc 2.36.
 *
 * @module
 */
import { loadLibc } from "./libc.ts";

const libc = loadLibc({
  malloc_trim: { parameters: ["usize"], result: "i32", nonblocking: true }, // int malloc_trim(size_t pad)
});

/**
 * Gives pages that nobody uses back to the kernel, those between used ones too. On a thread of its own, as it takes
 * some milliseconds.
 *
 * @param keepBytes what stays free at the end of the heap
 * @returns whether there were any
 */
export async function mallocTrim(keepBytes: number): Promise<boolean> {
  return await libc().malloc_trim(BigInt(keepBytes)) === 1;
}

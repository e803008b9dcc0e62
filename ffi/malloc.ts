/**
 * The memory allocator of the C library, which the runtime uses for everything outside its own heaps.
 *
 * Source: malloc.h of glibc 2.36.
 *
 * @module
 */
import { loadLibc } from "./libc.ts";

const libc = loadLibc({
  mallopt: { parameters: ["i32", "i32"], result: "i32" }, // int mallopt(int param, int value)
  malloc_trim: { parameters: ["usize"], result: "i32", nonblocking: true }, // int malloc_trim(size_t pad)
});

const M_MMAP_THRESHOLD = -3;

/**
 * Makes allocations of at least this size separate mappings that are unmapped when freed. By default the allocator
 * raises the threshold with each such allocation that is freed, and then keeps large blocks among small ones.
 */
export function mapLargePieces(sizeBytes: number): void {
  libc().mallopt(M_MMAP_THRESHOLD, sizeBytes);
}

/**
 * Returns unused pages to the kernel, including those between used ones. Runs on another thread, because it takes some
 * milliseconds.
 *
 * @param keepBytes bytes to keep free at the end of the heap
 * @returns whether any memory was returned
 */
export async function mallocTrim(keepBytes: number): Promise<boolean> {
  return await libc().malloc_trim(BigInt(keepBytes)) === 1;
}

/**
 * The memory allocator of the C library, which the runtime uses for everything outside of its own heaps.
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
 * Has pieces from this size on mapped by themselves for good, and unmapped when they are freed. By itself the allocator
 * raises the size with each such piece that is freed, and keeps large ones among small ones.
 */
export function mapLargePieces(sizeBytes: number): void {
  libc().mallopt(M_MMAP_THRESHOLD, sizeBytes);
}

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

/**
 * The processor architecture: constants and structs that depend on it are tables, keyed by {@link Machine}, so that
 * either machine tests both.
 *
 * Everything else in this folder is the same on all of them: 64-bit, little-endian, numbers of asm-generic. Sizes of
 * memory pages are not, on arm64: 4, 16 or 64 KiB by the kernel's configuration (`pageSize` of sys_mman.ts).
 *
 * @module
 */

/** An architecture of which the tables are known. */
export type Machine = "x86_64" | "aarch64";

const KNOWN: readonly string[] = ["x86_64", "aarch64"] satisfies Machine[];

/**
 * The machine called `arch`, as in `Deno.build.arch`.
 *
 * @throws {Error} if its tables are not known: they would be another machine's
 */
export function machineOf(arch: string): Machine {
  if (KNOWN.includes(arch)) return arch as Machine;
  throw new Error(`Cannot run on ${arch}: this program is for ${KNOWN.join(" and ")}`);
}

/** This machine. */
export const MACHINE: Machine = machineOf(Deno.build.arch);

/**
 * Where a dynamic linker finds the libraries of a program: in the folders that the program names, then in those of the
 * system.
 *
 * The linker's own cache of names is not read: what it has beside these folders is found by the read that misses it.
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { findFile, type FoundFile } from "./find_file.ts";

/** Below /usr and at the root. */
const SYSTEM_FOLDERS = ["lib64", "lib"] as const;

/** Debian's name of an architecture, by `e_machine` of <elf.h>. */
const MULTIARCH: Readonly<Record<number, string>> = {
  3: "i386-linux-gnu",
  21: "powerpc64le-linux-gnu",
  22: "s390x-linux-gnu",
  40: "arm-linux-gnueabihf",
  62: "x86_64-linux-gnu",
  183: "aarch64-linux-gnu",
  243: "riscv64-linux-gnu",
};

/**
 * The library's file.
 *
 * @param name as the program has it: with a slash a path
 * @param searchPaths of the program, absolute ones count
 * @param machine `e_machine`
 * @throws {RafsError} for damage on the way
 */
export function findLibrary(
  tree: Bootstrap,
  name: ByteString,
  searchPaths: readonly ByteString[],
  machine: number,
): FoundFile | undefined {
  if (name.includes("/")) return name.startsWith("/") ? findFile(tree, name) : undefined;
  const multiarch = MULTIARCH[machine];
  const system = SYSTEM_FOLDERS.flatMap((folder) => [`/${folder}`, `/usr/${folder}`]);
  const folders = [
    ...searchPaths.filter((path) => path.startsWith("/")),
    ...(multiarch === undefined ? [] : [`/lib/${multiarch}`, `/usr/lib/${multiarch}`]),
    ...system,
    "/usr/local/lib",
  ];
  for (const folder of folders) {
    const found = findFile(tree, `${folder}/${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

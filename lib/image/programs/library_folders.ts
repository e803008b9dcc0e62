/**
 * Finds libraries as a dynamic linker does: in the search paths of the program, then in the system's folders.
 *
 * The linker's cache (ld.so.cache) is not consulted. Libraries that only it knows are fetched when they are read.
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { findFile, type FoundFile } from "./find_file.ts";

/** Exist at the root and below /usr. */
const SYSTEM_FOLDERS = ["lib64", "lib"] as const;

/** Debian's architecture triplets, by `e_machine` of <elf.h>. */
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
 * Returns the file of a library; undefined if it is not found.
 *
 * @param name as recorded in the program: with a slash, a path
 * @param searchPaths of the program; only absolute ones are used
 * @param machine `e_machine`
 * @throws {RafsError} if the tree is damaged
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

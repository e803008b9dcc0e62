/**
 * What is below a folder.
 *
 * @module
 */

/** A path below the folder, and what it names. */
export interface WalkedEntry {
  readonly path: string;
  readonly info: Deno.FileInfo;
}

/** Everything below `root`; names that are no UTF-8 are left out. */
export async function* walk(root: string, below = ""): AsyncGenerator<WalkedEntry> {
  for await (const { name, isDirectory } of Deno.readDir(below === "" ? root : `${root}/${below}`)) {
    if (name.includes("\ufffd")) continue;
    const path = below === "" ? name : `${below}/${name}`;
    yield { path, info: await Deno.lstat(`${root}/${path}`) };
    if (isDirectory) yield* walk(root, path);
  }
}

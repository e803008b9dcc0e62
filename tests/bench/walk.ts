/**
 * Lists the content of a directory recursively.
 *
 * @module
 */

/** A path relative to the directory, and its attributes. */
export interface WalkedEntry {
  readonly path: string;
  readonly info: Deno.FileInfo;
}

/** Yields everything below `root`, except names that are not UTF-8. */
export async function* walk(root: string, below = ""): AsyncGenerator<WalkedEntry> {
  for await (const { name, isDirectory } of Deno.readDir(below === "" ? root : `${root}/${below}`)) {
    if (name.includes("\ufffd")) continue;
    const path = below === "" ? name : `${below}/${name}`;
    yield { path, info: await Deno.lstat(`${root}/${path}`) };
    if (isDirectory) yield* walk(root, path);
  }
}

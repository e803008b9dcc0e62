/**
 * Tells a bootstrap layer by its shape: the only thing in it is the folder `image` with `image.boot` and perhaps more,
 * or the file `image.boot` alone.
 *
 * The shape claims; whether the file is a bootstrap is for {@link LazyImages.verify} to say.
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";
import { ignore } from "../base/errors.ts";

const FOLDER = "image";
const FILE = "image.boot";

/** Where a bootstrap can be in its layer. */
export const BOOTSTRAP_PATHS = [`${FOLDER}/${FILE}`, FILE] as const;

/**
 * Whether a layer in which something is at `path` ("a/b", "" for the root) can still be a bootstrap layer. Where it
 * cannot, {@link bootstrapOf} finds none.
 */
export function mayBeBootstrap(path: ByteString): boolean {
  return path === "" || path === FILE || path === FOLDER || path.startsWith(`${FOLDER}/`);
}

/**
 * The path of the bootstrap relative to `diffDir`, undefined for an ordinary layer. Only regular files count: a
 * symbolic link would lead out of the layer.
 */
export async function bootstrapOf(diffDir: string): Promise<typeof BOOTSTRAP_PATHS[number] | undefined> {
  let only: Deno.DirEntry | undefined;
  for await (const entry of Deno.readDir(diffDir)) {
    if (only !== undefined) return undefined;
    only = entry;
  }
  if (only?.isFile && only.name === FILE) return FILE;
  if (!only?.isDirectory || only.name !== FOLDER) return undefined;
  const [path] = BOOTSTRAP_PATHS;
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(`${diffDir}/${path}`));
  return info?.isFile ? path : undefined;
}

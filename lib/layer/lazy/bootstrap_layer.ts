/**
 * Recognises a bootstrap layer by its shape: it contains only the folder `image`, with `image.boot` and possibly more,
 * or only the file `image.boot`.
 *
 * The shape is only a claim; {@link LazyImages.verify} decides whether the file is a bootstrap.
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";
import { ignore } from "../../base/errors.ts";

const FOLDER = "image";
const FILE = "image.boot";

/** Possible paths of the bootstrap in its layer. */
export const BOOTSTRAP_PATHS = [`${FOLDER}/${FILE}`, FILE] as const;

/**
 * Whether a layer that contains `path` ("a/b", "" for the root) can still be a bootstrap layer. If not,
 * {@link bootstrapOf} finds none.
 */
export function mayBeBootstrap(path: ByteString): boolean {
  return path === "" || path === FILE || path === FOLDER || path.startsWith(`${FOLDER}/`);
}

/**
 * The path of the bootstrap relative to `diffDir`; undefined for an ordinary layer. Only regular files count: a
 * symbolic link could lead out of the layer.
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

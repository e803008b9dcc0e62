/**
 * Properties of an unmounted image, read from its bootstrap.
 *
 * @module
 */
import { S } from "../../../../ffi/sys_stat.ts";
import { delay } from "../../../base/abort.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { type IdMaps, toHost } from "../../../layer/userns/id_maps.ts";
import type { ImageRoot } from "../../../layer/lazy/lazy_images.ts";
import { emptyAttr, ownerOf } from "../../../rafs/bootstrap.ts";
import { pathText } from "../../../rafs/path_text.ts";
import { walkTree } from "../../../rafs/walk.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";

/** Number of names that are looked at before others get their turn. */
const NAMES_AT_ONCE = 5_000;

/** Permissions of every root: Docker's, and nydusd's (rafs/src/fs.rs). */
const ROOT_PERMISSIONS = 0o755;

/**
 * Returns the attributes that the root of containers gets from the image: its owner, and 0755 whatever the image says,
 * since builders take the mode of the folder that they worked in, which may be closed to anyone but root.
 *
 * @throws as {@link MappedBootstrap.open}
 */
export function rootOf(bootstrapPath: string): ImageRoot {
  using bootstrap = MappedBootstrap.open(bootstrapPath);
  const { tree } = bootstrap;
  const root = emptyAttr();
  tree.attr(tree.rootIno, root);
  return { mode: root.mode & ~(S.IFMT | 0o777) | ROOT_PERMISSIONS, ...ownerOf(tree, root) };
}

/**
 * Refuses an image with an owner that `idMaps` does not map to the host, as an ordinary layer with one is.
 *
 * @throws {NydusGdError} "invalid-image", also for damage; as {@link MappedBootstrap.open}
 */
export async function requireMappedOwners(bootstrapPath: string, idMaps: IdMaps): Promise<void> {
  using bootstrap = MappedBootstrap.open(bootstrapPath);
  const { tree } = bootstrap;
  let names = 0;
  for (const { path, attr } of walkTree(tree)) {
    const owner = ownerOf(tree, attr);
    if (toHost(idMaps, owner) === undefined) {
      const state = `the owner ${owner.uid}:${owner.gid} of "${pathText(path)}" is outside the user namespace`;
      throw new NydusGdError("invalid-image", `Cannot use lazy image "${bootstrapPath}": ${state}`);
    }
    if (++names % NAMES_AT_ONCE === 0) await delay(0);
  }
}

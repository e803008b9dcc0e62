/**
 * Lazy images as the containers of one store are to see them.
 *
 * An image has the owners that its maker gave it, and one mount of it serves everybody. With user namespaces
 * (dockerd's `userns-remap`) the files of ordinary layers are stored with host ids, so an image must look as if its
 * were: owner 0 as the host id of the containers' root. A _view_ is a clone of the image's mount in which the kernel
 * maps owners (an idmapped mount; Linux 5.19 for EROFS and as a lower layer of overlays, 6.12 for FUSE). Without user
 * namespaces a view is the image's folder itself.
 *
 * Nobody keeps a view: an overlay clones it when it is mounted, a comparison ends. So a view is on no record, and
 * survives neither this process nor a restart.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { AT } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { idmapTree, moveMount, OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import { NydusGdError } from "../../base/errors.ts";
import { type IdMaps, isMapped, toHost } from "../userns/id_maps.ts";
import type { ImageRoot, LazyImages } from "./lazy_images.ts";
import { unmountAll } from "../overlay/overlay_mount.ts";
import { makeUserNamespace } from "../userns/user_namespace.ts";

/** A view of an image. It ends when it is disposed of, except for overlays that were mounted on it. */
export interface ImageView extends Disposable {
  /** Absolute path of the image's root, valid in all threads of this process. */
  readonly path: string;
}

/** The views of one store. */
export class ImageViews implements AsyncDisposable {
  #namespace: Promise<Fd> | undefined;

  /** @param idMaps of the containers */
  constructor(private readonly lazyImages: Pick<LazyImages, "verify">, private readonly idMaps: IdMaps) {}

  /**
   * Like LazyImages.verify, and checks that views can be made. The owner of the root is that of the view.
   *
   * @throws {NydusGdError} also "environment" if the machine has no user namespaces
   */
  async verify(bootstrapPath: string): Promise<ImageRoot> {
    if (!isMapped(this.idMaps)) return await this.lazyImages.verify(bootstrapPath);
    const root = await this.lazyImages.verify(bootstrapPath, this.idMaps);
    await this.#userNamespace();
    return { ...root, ...toHost(this.idMaps, root) };
  }

  /** A view that is mounted nowhere, of the image at `path`. */
  async open(path: string): Promise<ImageView> {
    if (!isMapped(this.idMaps)) return plainView(path);
    const tree = await this.#mapped(path);
    return { path: `${procFdPath(tree)}/.`, [Symbol.dispose]: () => tree[Symbol.dispose]() };
  }

  /**
   * A view for an overlay, of the image at `path`: before Linux 6.15 the layers of overlays have to be mounted.
   *
   * @param place a folder to create and mount on. A process that is killed leaves both
   */
  async place(path: string, place: string): Promise<ImageView> {
    if (!isMapped(this.idMaps)) return plainView(path);
    using tree = await this.#mapped(path);
    await Deno.mkdir(place, { recursive: true, mode: 0o700 });
    const view = { path: place, [Symbol.dispose]: () => endPlaced(place) };
    try {
      moveMount(tree, place);
      return view;
    } catch (error) {
      view[Symbol.dispose]();
      throw error;
    }
  }

  async #mapped(path: string): Promise<Fd> {
    const namespace = await this.#userNamespace();
    const tree = openTree(AT.FDCWD, path, OPEN_TREE.CLONE);
    try {
      idmapTree(tree, namespace);
      return tree;
    } catch (error) {
      tree[Symbol.dispose]();
      throw isErrno(error, "EINVAL", "ENOSYS", "EPERM") ? unmappable(path, error) : error;
    }
  }

  /** Made on first use: a store without lazy images needs none. */
  #userNamespace(): Promise<Fd> {
    const made = this.#namespace ??= makeUserNamespace(this.idMaps);
    made.catch(() => {
      if (this.#namespace === made) this.#namespace = undefined; // the next caller tries again
    });
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [made] = await Promise.allSettled([this.#namespace]);
    if (made.status === "fulfilled") made.value?.[Symbol.dispose]();
  }
}

function plainView(path: string): ImageView {
  return { path, [Symbol.dispose]: () => {} };
}

/** Unmounts the view, and removes its mount point. */
function endPlaced(place: string): void {
  unmountAll(place);
  Deno.removeSync(place);
}

function unmappable(path: string, cause: Error): NydusGdError {
  const state = `the kernel cannot shift the owners of its file system (userns-remap; ${cause.message})`;
  return new NydusGdError("unsupported", `Cannot show image "${path}" to containers: ${state}`, {
    cause,
    hint: "use an ordinary image, or Linux 6.12 or later",
  });
}

/**
 * The file system operations, as a Worker answers them.
 *
 * Kernel caching: an image never changes, so names (including absent ones), attributes, symbolic links, listings and
 * pages stay valid forever ({@link FOREVER_SEC}). Only the root folder changes: absent names in it are not cached, and
 * the main thread sends notices for everything else. Reads of data that is not in the cache go to the main thread;
 * everything else is answered here.
 *
 * @module
 */
import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { BLOCK_SIZE, DirectoryListing, FUSE_ROOT_ID, FUSE_UNKNOWN_INO, NAME_MAX } from "../../../ffi/fuse_kernel.ts";
import {
  type FuseRequest,
  replyAttributes,
  replyBytes,
  replyEntry,
  replyLink,
  replyNegativeEntry,
  replyOpen,
  replyStatfs,
  replyXattrSize,
} from "../../../ffi/libfuse3.ts";
import type { FuseOperations } from "../../../ffi/libfuse3_session.ts";
import { equalBytes } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import { OWN_NAME, PARENT_NAME } from "../../base/path_bytes.ts";
import { emptyAttr, type Extent, type InodeAttr } from "../../rafs/bootstrap.ts";
import { DT_DIR, S_IFDIR } from "../../rafs/format/inode_mode.ts";
import { coveredLength, isReadable, LostChunks, readExtents, testAndClearWatch } from "../reads/cached_read.ts";
import { imageOf, inoOf, nodeId } from "./node_id.ts";
import type { ServedImage, ServedImages } from "./served_images.ts";
import type { FromWorker, Miss } from "./worker_messages.ts";

/** How long the kernel may cache anything of an image: 31 years. */
const FOREVER_SEC = 1_000_000_000;

/** Cookie of the first name in a listing; 0 comes before ".", 1 before "..". */
const FIRST_NAME = 2;

/** What the operations need of the Worker that they run in. */
export interface OperationsHost {
  readonly images: ServedImages;
  /** Number of the image that is the root of the mount, or 0. */
  readonly rootImage: number;
  /** Creation time of the root folder, seconds since 1970. */
  readonly startSec: number;
  /** Answer OPEN requests instead of disabling them for the session. */
  readonly openRequests: boolean;
  /** Buffer for the largest READ. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Hands the request to the main thread. */
  park(miss: Omit<Miss, "kind" | "slot">): void;
  post(message: FromWorker): void;
  countRead(bytes: number): void;
}

/** An inode of an image. */
interface Place {
  readonly image: ServedImage;
  readonly ino: number;
}

/** Answers of the file system. */
export class ImageOperations implements FuseOperations {
  readonly #host: OperationsHost;
  readonly #listing: DirectoryListing;
  readonly #attr = emptyAttr();

  constructor(host: OperationsHost) {
    this.#host = host;
    this.#listing = new DirectoryListing(host.data);
  }

  lookup(request: FuseRequest, parent: bigint, name: Uint8Array): number {
    if (name.length > NAME_MAX) return ERRNO.ENAMETOOLONG;
    if (this.#isRootFolder(parent)) return this.#lookupImage(request, name);
    const place = this.#place(parent);
    if (place === undefined) return ERRNO.ESTALE;
    const { image, ino } = place;
    const child = image.tree.lookup(ino, name);
    if (child === 0) {
      replyNegativeEntry(request, FOREVER_SEC);
      return 0;
    }
    this.#readAttr(image, child);
    image.addReference();
    if (replyEntry(request, nodeId(image.number, child), this.#attr, FOREVER_SEC) !== 0) this.#unreference(image, 1);
    return 0;
  }

  #lookupImage(request: FuseRequest, name: Uint8Array): number {
    const image = this.#host.images.named(name);
    if (image === undefined) return ERRNO.ENOENT;
    if (!this.#refer(image)) return ERRNO.ENOENT;
    const root = image.tree.rootIno;
    try {
      this.#readAttr(image, root);
    } catch (error) {
      this.#unreference(image, 1);
      throw error;
    }
    if (replyEntry(request, nodeId(image.number, root), this.#attr, FOREVER_SEC) !== 0) this.#unreference(image, 1);
    return 0;
  }

  forget(node: bigint, count: number): void {
    const image = this.#host.images.get(imageOf(node));
    if (image !== undefined) this.#unreference(image, count);
  }

  /**
   * Takes a reference to an image found by name; false if the name is gone. The reference is counted before `removed`
   * is read, so whoever removes the image sees either no name or this reference, and keeps its bootstrap mapped.
   */
  #refer(image: ServedImage): boolean {
    image.addReference();
    if (!image.removed) return true;
    this.#unreference(image, 1);
    return false;
  }

  #unreference(image: ServedImage, count: number): void {
    if (image.dropReferences(count)) this.#host.post({ kind: "unreferenced", image: image.number });
  }

  getattr(request: FuseRequest, node: bigint): number {
    if (this.#isRootFolder(node)) {
      replyAttributes(request, this.#rootFolderAttr(), FOREVER_SEC);
      return 0;
    }
    const place = this.#place(node);
    if (place === undefined) return ERRNO.ESTALE;
    this.#readAttr(place.image, place.ino);
    replyAttributes(request, this.#attr, FOREVER_SEC);
    return 0;
  }

  readlink(request: FuseRequest, node: bigint): number {
    const place = this.#place(node);
    if (place === undefined) return ERRNO.ESTALE;
    replyLink(request, place.image.tree.readlink(place.ino));
    return 0;
  }

  open(request: FuseRequest, node: bigint): number {
    if (!this.#host.openRequests) return ERRNO.ENOSYS;
    replyOpen(request, this.#place(node)?.image.isDevices ? { directIo: true } : { keepCache: true });
    return 0;
  }

  opendir(request: FuseRequest, node: bigint): number {
    if (!this.#host.openRequests) return ERRNO.ENOSYS;
    replyOpen(request, this.#isRootFolder(node) ? {} : { keepCache: true, cacheReaddir: true });
    return 0;
  }

  read(request: FuseRequest, node: bigint, size: number, offset: number): number {
    const place = this.#place(node);
    if (place === undefined) return ERRNO.ESTALE;
    const { image, ino } = place;
    const length = this.#readCached(image, ino, offset, size);
    if (length < 0) {
      this.#host.park({ request, image: image.number, ino, offset, size });
      return 0;
    }
    replyBytes(request, this.#host.data, length);
    this.#host.countRead(length);
    return 0;
  }

  /** Reports this reader's progress to fetches that run ahead of readers. */
  #tellReached(image: ServedImage, extents: readonly Extent[]): void {
    for (const extent of extents) {
      const { blobIndex: index, chunkIndex: chunk } = extent;
      const blob = image.blobs[index];
      if (blob !== undefined && testAndClearWatch(extent, blob)) {
        this.#host.post({ kind: "reached", image: image.number, index, chunk });
      }
    }
  }

  /**
   * Reads into the data buffer. Returns the number of bytes, or -1 if the main thread has to answer (or report the
   * error).
   */
  #readCached(image: ServedImage, ino: number, offset: number, size: number): number {
    if (size > this.#host.data.length) return -1;
    const extents = image.tree.extents(ino, offset, size);
    const length = coveredLength(extents, offset);
    if (length !== size && length !== this.#expectedLength(image, ino, offset, size)) return -1;
    for (const extent of extents) if (!isReadable(extent, image.blobs)) return -1;
    try {
      readExtents(extents, image.blobs, this.#host.data);
    } catch (error) {
      // the main thread repairs a truncated cache file, and fetches what the disk has lost
      if (error instanceof SyscallError || error instanceof LostChunks) return -1;
      throw error;
    }
    this.#tellReached(image, extents);
    return length;
  }

  /** Number of bytes that a READ must return: less than `size` only at the end of the file. */
  #expectedLength(image: ServedImage, ino: number, offset: number, size: number): number {
    this.#readAttr(image, ino);
    return Math.max(0, Math.min(size, this.#attr.size - offset));
  }

  readdir(request: FuseRequest, node: bigint, size: number, offset: number): number {
    return this.#list(request, node, size, offset, false);
  }

  readdirplus(request: FuseRequest, node: bigint, size: number, offset: number): number {
    return this.#list(request, node, size, offset, true);
  }

  #list(request: FuseRequest, node: bigint, size: number, offset: number, plus: boolean): number {
    const rootFolder = this.#isRootFolder(node);
    const place = rootFolder ? undefined : this.#place(node);
    if (!rootFolder && place === undefined) return ERRNO.ESTALE;
    const list = this.#listing;
    list.reset(size);
    const plain = plus ? list.addPlain.bind(list) : list.add.bind(list);
    const own = place?.ino ?? Number(FUSE_ROOT_ID);
    if (offset < 1 && !plain(OWN_NAME, own, DT_DIR, 1)) return ERRNO.EINVAL;
    if (offset < FIRST_NAME && !plain(PARENT_NAME, FUSE_UNKNOWN_INO, DT_DIR, FIRST_NAME)) {
      replyBytes(request, list.bytes, list.used);
      return 0;
    }
    const from = Math.max(offset, FIRST_NAME) - FIRST_NAME;
    // references are counted before the reply that passes them to the kernel is written
    const references = place === undefined ? this.#listImages(from, plus) : this.#listDirectory(place, from, plus);
    if (replyBytes(request, list.bytes, list.used) !== 0 && place !== undefined && references > 0) {
      this.#unreference(place.image, references);
    }
    return 0;
  }

  /** Fills the listing; returns the number of references passed to the kernel with it. */
  #listDirectory({ image, ino }: Place, from: number, plus: boolean): number {
    const list = this.#listing;
    let references = 0;
    try {
      image.tree.readdir(ino, from, (name, child, type, next) => {
        const cookie = next + FIRST_NAME;
        if (!plus) return list.add(name, child, type, cookie);
        if (!list.fitsPlus(name)) return false;
        if (!this.#canReadAttr(image, child)) return list.addPlain(name, child, type, cookie);
        image.addReference();
        references++;
        return list.addPlus(name, nodeId(image.number, child), this.#attr, FOREVER_SEC, cookie);
      });
    } catch (error) {
      // the kernel gets an error instead of the listing, and no references
      if (references > 0) this.#unreference(image, references);
      throw error;
    }
    return references;
  }

  /** The same for the images of the root folder, whose attributes come by LOOKUP. The cookie is the image's number. */
  #listImages(from: number, plus: boolean): number {
    const list = this.#listing;
    const encoder = new TextEncoder();
    for (const image of this.#host.images.listed()) {
      if (image.number <= from) continue;
      if (!this.#refer(image)) continue;
      const root = image.tree.rootIno;
      this.#unreference(image, 1);
      const name = encoder.encode(image.name);
      const cookie = image.number + FIRST_NAME;
      const fits = plus ? list.addPlain(name, root, DT_DIR, cookie) : list.add(name, root, DT_DIR, cookie);
      if (!fits) break;
    }
    return 0;
  }

  statfs(request: FuseRequest, node: bigint): number {
    const place = this.#isRootFolder(node) ? undefined : this.#place(node);
    let blocks = 0, files = 0;
    for (const image of place === undefined ? this.#host.images.listed() : [place.image]) {
      if (place === undefined && !this.#refer(image)) continue;
      blocks += image.blocks;
      files += image.tree.inodeCount;
      if (place === undefined) this.#unreference(image, 1);
    }
    replyStatfs(request, { blockSize: BLOCK_SIZE, blocks, files, nameMax: NAME_MAX });
    return 0;
  }

  getxattr(request: FuseRequest, node: bigint, name: Uint8Array, size: number): number {
    if (this.#isRootFolder(node)) return ERRNO.ENODATA;
    const place = this.#place(node);
    if (place === undefined) return ERRNO.ESTALE;
    const { tree } = place.image;
    if (!tree.hasXattrs) return this.#host.rootImage === 0 ? ERRNO.ENODATA : ERRNO.ENOSYS;
    for (const [key, value] of tree.xattrs(place.ino)) {
      if (equalBytes(key, name)) return this.#replyXattr(request, value, size);
    }
    return ERRNO.ENODATA;
  }

  listxattr(request: FuseRequest, node: bigint, size: number): number {
    const place = this.#isRootFolder(node) ? undefined : this.#place(node);
    if (place === undefined && !this.#isRootFolder(node)) return ERRNO.ESTALE;
    let used = 0;
    const { data } = this.#host;
    if (place !== undefined && place.image.tree.hasXattrs) {
      for (const [key] of place.image.tree.xattrs(place.ino)) {
        if (used + key.length + 1 > data.length) return ERRNO.E2BIG;
        data.set(key, used);
        data[used + key.length] = 0;
        used += key.length + 1;
      }
    }
    return this.#replyXattr(request, data.subarray(0, used), size);
  }

  #replyXattr(request: FuseRequest, value: Uint8Array, size: number): number {
    if (size === 0) replyXattrSize(request, value.length);
    else if (value.length > size) return ERRNO.ERANGE;
    else replyBytes(request, value, value.length);
    return 0;
  }

  failed(operation: string, node: bigint, error: unknown): void {
    const image = imageOf(node);
    this.#host.post({ kind: "damage", image, ino: inoOf(node), operation, message: messageOf(error) });
  }

  /** Whether `node` is the folder that contains the images. */
  #isRootFolder(node: bigint): boolean {
    return node === FUSE_ROOT_ID && this.#host.rootImage === 0;
  }

  #place(node: bigint): Place | undefined {
    const isRoot = node === FUSE_ROOT_ID;
    const image = this.#host.images.get(isRoot ? this.#host.rootImage : imageOf(node));
    if (image === undefined) return undefined;
    return { image, ino: isRoot ? image.tree.rootIno : inoOf(node) };
  }

  #readAttr(image: ServedImage, ino: number): void {
    const attr = this.#attr;
    image.tree.attr(ino, attr);
    if (!image.tree.explicitUidGid) attr.uid = attr.gid = 0;
  }

  #canReadAttr(image: ServedImage, ino: number): boolean {
    try {
      this.#readAttr(image, ino);
      return true;
    } catch (error) {
      this.failed("readdirplus", nodeId(image.number, ino), error);
      return false;
    }
  }

  #rootFolderAttr(): InodeAttr {
    const attr = emptyAttr();
    attr.ino = Number(FUSE_ROOT_ID);
    attr.mode = S_IFDIR | 0o755;
    attr.nlink = 2 + this.#host.images.listed().length;
    attr.mtime = this.#host.startSec;
    return attr;
  }
}

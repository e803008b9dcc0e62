/**
 * Converts the tree of a bootstrap to an EROFS image for the kernel, and to the devices that hold its file data.
 *
 * ```
 * bootstrap (v5, v6) ──walk──► every inode, name, chunk ──► EROFS image with block-aligned devices
 *                        │
 *                        └── what the reader refuses never reaches the kernel
 * ```
 * RAFS v6 is already EROFS, but the kernel does not validate its chunk indexes: each is a device and a block, and the
 * kernel serves whatever is stored there. Here the reader has validated every index, and two indexes that contradict
 * each other refuse the image. A copy of such a bootstrap is changed (v6/patch_tree.ts); if it has structures that we
 * leave to no kernel (shared attributes, compact inodes), and for v5, the image is written anew. Fields that only the
 * kernel interprets (chunk formats, device slots) are ours in either case, whatever the bootstrap contained.
 *
 * The output is deterministic, so inode numbers do not change across restarts.
 *
 * @module
 */
import type { Bootstrap, Extent } from "../bootstrap.ts";
import { EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { DEVICE_BLOCK, DeviceBuilder, type DeviceTable } from "./device_table.ts";
import { BLOB_FEATURE } from "../format/flags.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { TreeBudget } from "../tree_budget.ts";
import { SUPER } from "../v6/layout.ts";
import type { PatchableTree } from "../v6/patch_tree.ts";
import {
  type BlobEntry,
  BootstrapWriter,
  type ChunkLocation,
  type InodeSpec,
  type MovablePlace,
} from "../v6/writer.ts";
import { CHUNKS_AT_ONCE, fileExtents, type TreeEntry, walkTree } from "../walk.ts";

/** An EROFS image and its devices. */
export interface ErofsImage {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In the order in which they are passed to the kernel. A blob that no file uses has no device. */
  readonly devices: readonly DeviceTable[];
}

/**
 * Makes the image. Its devices are named by blob ids, which the kernel ignores when it is given devices explicitly;
 * otherwise see device_names.ts.
 * The UUID is zeros; see {@link setImageUuid}.
 *
 * @throws {RafsError} "invalid-image" for damage anywhere in the tree, "unsupported" for what EROFS cannot represent
 */
export function makeErofsImage(tree: Bootstrap & Partial<PatchableTree>): ErofsImage {
  return patchedImage(tree) ?? writtenImage(tree);
}

/** Gives the image a UUID of 16 bytes. */
export function setImageUuid({ bytes }: ErofsImage, uuid: Uint8Array): void {
  bytes.set(uuid, EROFS_SUPER_OFFSET + SUPER.uuid);
}

/** Changes a copy of the bootstrap; undefined if that is not possible. */
function patchedImage(tree: Bootstrap & Partial<PatchableTree>): ErofsImage | undefined {
  const devices = new DeviceBuilders();
  const patched = tree.patchTree?.(devices.add);
  if (patched === undefined) return undefined;
  const tables = devices.finish();
  return { bytes: patched.finish(blobEntries(tree, tables), devices.move), devices: tables };
}

/** Writes the image anew. */
function writtenImage(tree: Bootstrap): ErofsImage {
  const devices = new DeviceBuilders();
  const writer = new BootstrapWriter({ chunkSize: tree.chunkSize, compressor: "none", digester: "sha256" });
  addTree(tree, writer, devices);
  const tables = devices.finish();
  return { bytes: writer.finish(blobEntries(tree, tables), [], devices.move), devices: tables };
}

/** Adds every inode and name found by walking the tree. */
function addTree(tree: Bootstrap, writer: BootstrapWriter, devices: DeviceBuilders): void {
  const inodes = new Map<number, number>();
  const budget = new TreeBudget(tree.byteLength);
  for (const entry of walkTree(tree)) {
    const parent = inodes.get(entry.parent);
    let inode = inodes.get(entry.ino);
    if (inode === undefined) {
      inode = writer.addInode(specOf(tree, entry, devices, budget));
      inodes.set(entry.ino, inode);
    }
    if (parent !== undefined) writer.addEntry(parent, entry.name, inode);
  }
}

/**
 * Returns the devices of {@link makeErofsImage} without building the image, to resume serving an existing mount.
 *
 * @throws {RafsError} as {@link makeErofsImage}
 */
export function devicesOf(tree: Bootstrap): DeviceTable[] {
  const devices = new DeviceBuilders();
  const seen = new Set<number>();
  const budget = new TreeBudget(tree.byteLength);
  for (const entry of walkTree(tree)) {
    if (!isFile(entry) || seen.has(entry.ino)) continue;
    seen.add(entry.ino);
    for (const extent of fileExtents(tree, entry.ino, entry.attr.size)) {
      budget.takeChunk(entry.ino);
      devices.addExtent(extent);
    }
  }
  return devices.finish();
}

/** Devices under construction. Chunk offsets are final only when all chunks have been added. */
class DeviceBuilders {
  readonly #byBlob = new Map<number, DeviceBuilder>();
  /** Device index by blob index. */
  readonly #order = new Map<number, number>();

  /** Adds a chunk. Returns a provisional offset, which {@link move} translates. */
  readonly add = (blobIndex: number, chunkIndex: number, chunkOffset: number, chunkLength: number): number => {
    let builder = this.#byBlob.get(blobIndex);
    if (builder === undefined) this.#byBlob.set(blobIndex, builder = new DeviceBuilder(blobIndex));
    return builder.add(chunkIndex, chunkOffset, chunkLength) * DEVICE_BLOCK;
  };

  addExtent({ blobIndex, chunkIndex, chunkOffset, chunkLength }: Extent): ChunkLocation {
    return { blobIndex, chunkIndex: 0, uncompressedOffset: this.add(blobIndex, chunkIndex, chunkOffset, chunkLength) };
  }

  finish(): DeviceTable[] {
    const sorted = [...this.#byBlob].sort(([a], [b]) => a - b);
    sorted.forEach(([blobIndex], index) => this.#order.set(blobIndex, index));
    return sorted.map(([, builder]) => builder.finish());
  }

  /** Translates the provisional offset of {@link add} to the final device and offset. Call after {@link finish}. */
  readonly move = (place: MovablePlace): void => {
    const builder = this.#byBlob.get(place.blobIndex) as DeviceBuilder;
    place.blobIndex = this.#order.get(place.blobIndex) as number;
    place.uncompressedOffset = builder.offsetOf(place.uncompressedOffset / DEVICE_BLOCK);
  };
}

function isFile({ attr }: TreeEntry): boolean {
  return (attr.mode & S_IFMT) === S_IFREG;
}

const NO_CHUNKS: readonly ChunkLocation[] = [];

/** Describes the inode, and adds a file's chunks to `devices`. */
function specOf(tree: Bootstrap, entry: TreeEntry, devices: DeviceBuilders, budget: TreeBudget): InodeSpec {
  const { ino, attr } = entry;
  const { mode, size, mtime, mtimeNsec, rdev, nlink } = attr;
  const type = mode & S_IFMT;
  const target = type === S_IFLNK ? tree.readlink(ino) : undefined;
  const xattrs = tree.hasXattrs ? [...tree.xattrs(ino)] : undefined;
  budget.takeXattrs(ino, xattrs ?? []);
  budget.takeBytes(ino, target?.length ?? 0);
  return {
    mode,
    size,
    uid: tree.explicitUidGid ? attr.uid : 0,
    gid: tree.explicitUidGid ? attr.gid : 0,
    mtime,
    mtimeNsec,
    rdev,
    nlink,
    chunks: type === S_IFREG ? chunksOf(tree, entry, devices, budget) : NO_CHUNKS,
    target,
    xattrs,
  };
}

function chunksOf(tree: Bootstrap, entry: TreeEntry, devices: DeviceBuilders, budget: TreeBudget): ChunkLocation[] {
  const { ino, attr: { size } } = entry;
  const places: ChunkLocation[] = [];
  const step = CHUNKS_AT_ONCE * tree.chunkSize;
  for (let offset = 0; offset < size; offset += step) {
    for (const extent of tree.extents(ino, offset, step)) {
      budget.takeChunk(ino);
      places.push(devices.addExtent(extent));
    }
  }
  return places;
}

/** The blob table. The kernel uses only names and sizes. */
function blobEntries(tree: Bootstrap, devices: readonly DeviceTable[]): BlobEntry[] {
  return devices.map(({ blobIndex, sizeBytes }, index) => ({
    index,
    id: tree.blobs[blobIndex]?.id ?? String(blobIndex),
    compressor: "none",
    digester: "sha256",
    chunkSize: tree.chunkSize,
    chunkCount: 0,
    features: BLOB_FEATURE.aligned | BLOB_FEATURE.chunkInfoV2,
    compressedSize: 0,
    uncompressedSize: sizeBytes,
    meta: { compressor: "none", offset: 0, compressedSize: 0, uncompressedSize: 0 },
  }));
}

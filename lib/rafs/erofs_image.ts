/**
 * The tree of a bootstrap as an EROFS image for the kernel, and the devices that its files are on.
 *
 * ```
 * bootstrap (v5, v6) ──walk──► every inode, name, chunk ──► EROFS image with block-aligned devices
 *                        │
 *                        └── what the reader refuses never reaches the kernel
 * ```
 * RAFS v6 is EROFS already, but nothing of it is checked there: a chunk index is a device and a block to the kernel,
 * which shows whatever is at that place. Here every index has passed the reader, and two indexes that contradict each
 * other refuse the image. What only the kernel interprets (chunk formats, device slots, shared attributes, compact
 * inodes) is what our writer wrote, whatever the image had. v5 becomes the same.
 *
 * Same tree, same bytes: inode numbers do not change over restarts.
 *
 * @module
 */
import type { Bootstrap, Extent } from "./bootstrap.ts";
import { DEVICE_BLOCK, DeviceBuilder, type DeviceTable } from "./device_table.ts";
import { BLOB_FEATURE } from "./flags.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "./inode_mode.ts";
import { TreeBudget } from "./tree_budget.ts";
import { type BlobEntry, BootstrapWriter, type ChunkPlace, type InodeSpec, type MovablePlace } from "./v6/writer.ts";
import { CHUNKS_AT_ONCE, fileExtents, type TreeEntry, walkTree } from "./walk.ts";

/** See the module. */
export interface ErofsImage {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In the order in which they are given to the kernel. Blobs that no file uses have none. */
  readonly devices: readonly DeviceTable[];
}

/**
 * Makes the image. Its devices are called by the ids of blobs, which mean nothing where devices are given to the kernel;
 * else see device_names.ts.
 *
 * @throws {RafsError} "invalid-image" for damage anywhere in the tree, "unsupported" for what EROFS cannot hold
 */
export function makeErofsImage(tree: Bootstrap): ErofsImage {
  const devices = new DeviceBuilders();
  const writer = new BootstrapWriter({ chunkSize: tree.chunkSize, compressor: "none", digester: "sha256" });
  if (!writer.copyTree(tree, devices.add)) addTree(tree, writer, devices);
  const tables = devices.finish();
  writer.moveChunks(devices.move);
  const entries = tables.map((device, index) => blobEntry(tree, device, index));
  return { bytes: writer.finish(entries), devices: tables };
}

/** Adds all that a walk of the tree meets. */
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
 * The devices of {@link makeErofsImage} without the image: what whoever serves them on has to know of a mount that is
 * there.
 *
 * @throws {RafsError} as there
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

/** Devices in the making. Where a chunk is in one is known when all chunks are. */
class DeviceBuilders {
  readonly #byBlob = new Map<number, DeviceBuilder>();
  /** Positions of devices, by blob. */
  readonly #order = new Map<number, number>();

  /** Adds a chunk; the offset by which {@link move} knows it. */
  readonly add = (blobIndex: number, chunkIndex: number, chunkOffset: number, chunkLength: number): number => {
    let builder = this.#byBlob.get(blobIndex);
    if (builder === undefined) this.#byBlob.set(blobIndex, builder = new DeviceBuilder(blobIndex));
    return builder.add(chunkIndex, chunkOffset, chunkLength) * DEVICE_BLOCK;
  };

  addExtent({ blobIndex, chunkIndex, chunkOffset, chunkLength }: Extent): ChunkPlace {
    return { blobIndex, chunkIndex: 0, uncompressedOffset: this.add(blobIndex, chunkIndex, chunkOffset, chunkLength) };
  }

  finish(): DeviceTable[] {
    const sorted = [...this.#byBlob].sort(([a], [b]) => a - b);
    sorted.forEach(([blobIndex], index) => this.#order.set(blobIndex, index));
    return sorted.map(([, builder]) => builder.finish());
  }

  /** From where {@link add} put the chunk to where the kernel sees it; after {@link finish}. */
  readonly move = (place: MovablePlace): void => {
    const builder = this.#byBlob.get(place.blobIndex) as DeviceBuilder;
    place.blobIndex = this.#order.get(place.blobIndex) as number;
    place.uncompressedOffset = builder.offsetOf(place.uncompressedOffset / DEVICE_BLOCK);
  };
}

function isFile({ attr }: TreeEntry): boolean {
  return (attr.mode & S_IFMT) === S_IFREG;
}

const NO_CHUNKS: readonly ChunkPlace[] = [];

/** The inode; the chunks of a file are added to `devices`. */
function specOf(tree: Bootstrap, { ino, attr }: TreeEntry, devices: DeviceBuilders, budget: TreeBudget): InodeSpec {
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
    chunks: type === S_IFREG ? chunksOf(tree, ino, size, devices, budget) : NO_CHUNKS,
    target,
    xattrs,
  };
}

function chunksOf(
  tree: Bootstrap,
  ino: number,
  size: number,
  devices: DeviceBuilders,
  budget: TreeBudget,
): ChunkPlace[] {
  const places: ChunkPlace[] = [];
  const step = CHUNKS_AT_ONCE * tree.chunkSize;
  for (let offset = 0; offset < size; offset += step) {
    for (const extent of tree.extents(ino, offset, step)) {
      budget.takeChunk(ino);
      places.push(devices.addExtent(extent));
    }
  }
  return places;
}

/** The blob table's row of a device: nothing but its name and its size mean anything to the kernel. */
function blobEntry(tree: Bootstrap, { blobIndex, sizeBytes }: DeviceTable, index: number): BlobEntry {
  return {
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
  };
}

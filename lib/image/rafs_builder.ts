/**
 * Makes a RAFS v6 image of a tar: one blob, zstd, sha256, with a bootstrap of its own.
 *
 * ```ts
 * const builder = new RafsBuilder({ chunkSize: 0x40000 }, (bytes) => writeAll(blobFile, bytes));
 * const reader = new TarReader(builder);
 * for await (const piece of tar) reader.push(piece);
 * reader.finish();
 * const { bootstrap, blobId } = builder.finish();
 * ```
 * The tar is a whole file system: whiteouts mean nothing, and a name that occurs again replaces what it named
 * (rafs_tree.ts). As in an unpacked layer, `trusted.overlay.*` is left out: overlayfs would obey it. Chunks are compressed
 * one by one and written as they come; equal chunks are stored once, and holes are a chunk of zeros. What a replaced file
 * had stays in the blob. Memory: about 200 bytes an inode, 16 bytes a chunk of a file, 150 bytes a stored chunk.
 *
 * Failure: {@link NydusGdError} "invalid-image" or "unsupported" that names the entry; what `write` throws.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { makedev, S } from "../../ffi/sys_stat.ts";
import { zstdCompress } from "../../ffi/libzstd.ts";
import type { TarEntry, TarType } from "../archive/tar.ts";
import type { TarVisitor } from "../archive/tar_reader.ts";
import { OVERLAY_XATTR_PREFIX } from "../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../base/bytes.ts";
import { NydusGdError } from "../base/errors.ts";
import { BlobTail } from "../rafs/blob_writer.ts";
import { CHUNK_FLAG, RafsError } from "../rafs/bootstrap.ts";
import { ChunkInfoWriter } from "../rafs/chunk_info_writer.ts";
import { LIMIT } from "../rafs/flags.ts";
import { BootstrapWriter, type ChunkPlace, type InodeSpec } from "../rafs/v6/writer.ts";
import { encodeXattrs } from "../rafs/v6/xattr_writer.ts";
import { pathParts, RafsTree, showPath } from "./rafs_tree.ts";

/** zstd's own default, and nydus-image's. */
const ZSTD_LEVEL = 3;

/** Bytes of the longest link target: a page with its NUL, as in the kernel. */
const MAX_TARGET_BYTES = 4095;

const XATTR_HINT = "it holds user.*, trusted.*, security.* and POSIX ACLs, names up to 255 bytes, 64 KiB each";

/** How the image is cut. */
export interface RafsBuilderOptions {
  /** Bytes of a full chunk: a power of two from 4 KiB to 16 MiB. */
  readonly chunkSize: number;
}

/** A finished image. */
export interface BuiltRafs {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** sha256 of the blob: its name at its home. The bootstrap does not name a blob without chunks, which is empty. */
  readonly blobId: string;
  readonly blobBytes: number;
}

const TYPE_BITS: Readonly<Record<Exclude<TarType, "link">, number>> = {
  file: S.IFREG,
  directory: S.IFDIR,
  symlink: S.IFLNK,
  char: S.IFCHR,
  block: S.IFBLK,
  fifo: S.IFIFO,
};

/** Visits a tar and collects the image. */
export class RafsBuilder implements TarVisitor {
  readonly #tree = new RafsTree();
  readonly #writer: BootstrapWriter;
  readonly #chunkInfos = new ChunkInfoWriter(1);
  readonly #hash: Hash = createHash("sha256");
  readonly #buffer: Uint8Array<ArrayBuffer>;
  /** Chunks by digest. */
  readonly #stored = new Map<ByteString, ChunkPlace>();
  /** The full chunk of zeros, once there is one. */
  #zeros: ChunkPlace | undefined;
  #blobBytes = 0;
  #path: ByteString[] = [];
  #spec: InodeSpec | undefined;
  /** Chunks of the current file, and bytes of its next one in the buffer. */
  #chunks: ChunkPlace[] = [];
  #filled = 0;

  /** @param write appends to the blob; the bytes are its only during the call */
  constructor(readonly options: RafsBuilderOptions, private readonly write: (bytes: Uint8Array) => void) {
    this.#writer = new BootstrapWriter({ chunkSize: options.chunkSize, compressor: "zstd", digester: "sha256" });
    this.#buffer = new Uint8Array(options.chunkSize);
  }

  entry(entry: TarEntry): void {
    this.#path = pathParts(toByteString(entry.name));
    this.#spec = undefined;
    if (entry.type === "link") return this.#tree.link(this.#path, pathParts(toByteString(entry.linkName)));
    if (entry.sizeBytes > LIMIT.chunks * this.options.chunkSize) {
      throw unstorable(this.#path, `${entry.sizeBytes} bytes exceed ${LIMIT.chunks} chunks`);
    }
    this.#chunks = [];
    this.#filled = 0;
    this.#spec = specOf(entry, TYPE_BITS[entry.type], this.#path, this.#chunks);
  }

  data(piece: Uint8Array, offset: number): void {
    this.#skipTo(offset);
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + this.#buffer.length - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#advance(part.length);
      at += part.length;
    }
  }

  endEntry(): void {
    if (this.#spec === undefined) return; // a hard link: it has its name
    this.#skipTo(this.#spec.size ?? 0);
    this.#endChunk();
    this.#tree.put(this.#path, this.#spec);
  }

  /** Ends blob and bootstrap. */
  finish(): BuiltRafs {
    const tail = new BlobTail({
      dataSize: this.#blobBytes,
      chunks: this.#chunkInfos,
      trailers: false,
      toc: false,
      codecs: { compressor: "zstd", compress: zstd, zstd, sha256 },
    });
    tail.addMeta();
    for (const { bytes } of tail.pieces) this.#append(bytes);
    const blobId = this.#hash.digest("hex");
    const blob = {
      index: 0,
      id: blobId,
      compressor: "zstd",
      digester: "sha256",
      chunkSize: this.options.chunkSize,
      ...tail.describe(),
    } as const;
    this.#tree.write(this.#writer);
    const bootstrap = this.#writer.finish(this.#chunkInfos.count === 0 ? [] : [blob]);
    return { bootstrap, blobId, blobBytes: this.#blobBytes };
  }

  /** Zeros up to `offset` of the file: a hole. */
  #skipTo(offset: number): void {
    const chunkSize = this.#buffer.length;
    for (let position = this.#position; position < offset; position = this.#position) {
      const length = Math.min(offset - position, chunkSize - this.#filled);
      if (length === chunkSize && this.#zeros !== undefined) {
        this.#chunks.push(this.#zeros);
        continue;
      }
      this.#buffer.fill(0, this.#filled, this.#filled + length);
      this.#advance(length);
      if (length === chunkSize) this.#zeros = this.#chunks.at(-1);
    }
  }

  /** Bytes of the current file that are in chunks or in the buffer. */
  get #position(): number {
    return this.#chunks.length * this.#buffer.length + this.#filled;
  }

  #advance(length: number): void {
    this.#filled += length;
    if (this.#filled === this.#buffer.length) this.#endChunk();
  }

  #endChunk(): void {
    if (this.#filled === 0) return;
    const plain = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
    const digest = sha256(plain);
    const key = toByteString(digest);
    let place = this.#stored.get(key);
    if (place === undefined) this.#stored.set(key, place = this.#store(plain, digest));
    this.#chunks.push(place);
  }

  #store(plain: Uint8Array, digest: Uint8Array): ChunkPlace {
    const smaller = zstd(plain);
    const compressed = smaller.length < plain.length;
    const stored = compressed ? smaller : plain;
    const compressedOffset = this.#blobBytes;
    this.#append(stored);
    const placed = this.#chunkInfos.add({
      size: plain.length,
      compressedOffset,
      compressedSize: stored.length,
    });
    this.#writer.addChunkRecord({
      blobIndex: 0,
      chunkIndex: placed.index,
      digest,
      flags: compressed ? CHUNK_FLAG.compressed : 0,
      compressedOffset,
      compressedSize: stored.length,
      uncompressedOffset: placed.uncompressedOffset,
      uncompressedSize: plain.length,
      crc32: 0,
    });
    return { blobIndex: 0, chunkIndex: placed.index, uncompressedOffset: placed.uncompressedOffset };
  }

  #append(bytes: Uint8Array): void {
    this.write(bytes);
    this.#hash.update(bytes);
    this.#blobBytes += bytes.length;
  }
}

/** The inode of an entry; `chunks` is filled later. Everything that the format cannot hold is refused here, by name. */
function specOf(entry: TarEntry, type: number, path: ByteString[], chunks: readonly ChunkPlace[]): InodeSpec {
  const { uid, gid, devMajor, devMinor, linkName } = entry;
  for (const [what, id] of [["uid", uid], ["gid", gid]] as const) {
    if (!(id >= 0 && id <= 0xffff_ffff)) throw unstorable(path, `${what} ${id} is not within 32 bits`);
  }
  if (!(devMajor >= 0 && devMajor < 1 << 12 && devMinor >= 0 && devMinor < 1 << 20)) {
    throw unstorable(path, `device ${devMajor}:${devMinor} exceeds 12:20 bits`);
  }
  if (entry.type === "symlink" && (linkName.length === 0 || linkName.length > MAX_TARGET_BYTES)) {
    throw unstorable(path, `its link target has ${linkName.length} bytes, expected 1 to ${MAX_TARGET_BYTES}`);
  }
  return {
    mode: type | entry.mode,
    uid,
    gid,
    mtime: entry.mtimeSec,
    mtimeNsec: entry.mtimeNsec,
    rdev: makedev(devMajor, devMinor),
    size: entry.sizeBytes,
    chunks,
    ...(entry.type === "symlink" ? { target: linkName.slice() } : {}),
    xattrs: xattrsOf(entry, path),
  };
}

function xattrsOf({ xattrs }: TarEntry, path: ByteString[]): (readonly [Uint8Array, Uint8Array])[] {
  const pairs = [...xattrs]
    .filter(([name]) => !name.startsWith(OVERLAY_XATTR_PREFIX))
    .map(([name, value]) => [fromByteString(name), value] as const);
  for (const [name, value] of pairs) {
    if (isStorable([[name, value]])) continue;
    const shown = JSON.stringify(new TextDecoder().decode(name));
    throw unstorable(path, `RAFS cannot hold its extended attribute ${shown} of ${value.length} bytes`, XATTR_HINT);
  }
  if (!isStorable(pairs)) throw unstorable(path, "RAFS cannot hold that many extended attributes", XATTR_HINT);
  return pairs;
}

function isStorable(pairs: readonly (readonly [Uint8Array, Uint8Array])[]): boolean {
  try {
    encodeXattrs(pairs);
    return true;
  } catch (error) {
    if (error instanceof RafsError) return false;
    throw error;
  }
}

function unstorable(path: readonly ByteString[], state: string, hint?: string): NydusGdError {
  const details = hint === undefined ? {} : { hint };
  return new NydusGdError("unsupported", `Cannot convert "${showPath(path)}": ${state}`, details);
}

function zstd(plain: Uint8Array): Uint8Array {
  return zstdCompress(plain, ZSTD_LEVEL);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

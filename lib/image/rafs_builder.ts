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
 * The tar is a whole file system: its names are unique, whiteouts mean nothing. Chunks are compressed one by one and
 * written as they come; equal chunks are stored once.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { makedev, S } from "../../ffi/sys_stat.ts";
import { zstdCompress } from "../../ffi/libzstd.ts";
import type { TarEntry, TarType } from "../archive/tar.ts";
import type { TarVisitor } from "../archive/tar_reader.ts";
import { type ByteString, fromByteString, toByteString } from "../base/bytes.ts";
import { NydusGdError } from "../base/errors.ts";
import { BlobTail } from "../rafs/blob_writer.ts";
import { CHUNK_FLAG } from "../rafs/bootstrap.ts";
import { ChunkInfoWriter } from "../rafs/chunk_info_writer.ts";
import { BootstrapWriter, type ChunkPlace, type InodeSpec } from "../rafs/v6/writer.ts";

/** zstd's own default, and nydus-image's. */
const ZSTD_LEVEL = 3;

/** How the image is cut. */
export interface RafsBuilderOptions {
  /** Bytes of a full chunk: a power of two from 4 KiB to 16 MiB. */
  readonly chunkSize: number;
}

/** A finished image. */
export interface BuiltRafs {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** sha256 of the blob: its name at its home. */
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

/** What a folder that the tar does not name gets. */
const IMPLIED_FOLDER: InodeSpec = { mode: S.IFDIR | 0o755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

/** Visits a tar and collects the image. */
export class RafsBuilder implements TarVisitor {
  readonly #writer: BootstrapWriter;
  readonly #chunkInfos = new ChunkInfoWriter(1);
  readonly #hash: Hash = createHash("sha256");
  readonly #buffer: Uint8Array<ArrayBuffer>;
  /** Chunks by digest. */
  readonly #stored = new Map<ByteString, ChunkPlace>();
  /** Inodes by path without slashes at its ends; "" is the root. */
  readonly #inodes = new Map<ByteString, number>();
  #blobBytes = 0;
  #entry: TarEntry | undefined;
  #chunks: ChunkPlace[] = [];
  #filled = 0;

  /** @param write appends to the blob */
  constructor(readonly options: RafsBuilderOptions, private readonly write: (bytes: Uint8Array) => void) {
    this.#writer = new BootstrapWriter({ chunkSize: options.chunkSize, compressor: "zstd", digester: "sha256" });
    this.#buffer = new Uint8Array(options.chunkSize);
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#chunks = [];
    this.#filled = 0;
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
    const entry = this.#entry as TarEntry;
    const path = cleanPath(entry.name);
    if (entry.type === "link") return this.#link(path, entry);
    if (entry.type === "file") {
      this.#skipTo(entry.sizeBytes);
      this.#endChunk();
    }
    const spec = specOf(entry, TYPE_BITS[entry.type], this.#chunks);
    if (path === "") {
      if (this.#inodes.has("")) throw refused(entry, "the root must come first");
      this.#inodes.set("", this.#writer.addInode(spec));
    } else this.#name(path, entry, () => this.#writer.addInode(spec));
  }

  /** Ends blob and bootstrap. */
  finish(): BuiltRafs {
    this.#root();
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
    const bootstrap = this.#writer.finish(this.#chunkInfos.count === 0 ? [] : [blob]);
    return { bootstrap, blobId, blobBytes: this.#blobBytes };
  }

  #link(path: ByteString, entry: TarEntry): void {
    const target = this.#inodes.get(cleanPath(entry.linkName));
    if (target === undefined) throw refused(entry, "its hard link leads to nothing before it");
    this.#name(path, entry, () => target);
  }

  #name(path: ByteString, entry: TarEntry, inode: () => number): void {
    if (this.#inodes.has(path)) throw refused(entry, "there are two of that name");
    const slash = path.lastIndexOf("/");
    const folder = this.#folder(slash < 0 ? "" : path.slice(0, slash));
    const number = inode();
    this.#inodes.set(path, number);
    this.#writer.addEntry(folder, fromByteString(path.slice(slash + 1)), number);
  }

  /** The inode of a folder, which is made when the tar did not name it. */
  #folder(path: ByteString): number {
    if (path === "") return this.#root();
    const known = this.#inodes.get(path);
    if (known !== undefined) return known;
    const slash = path.lastIndexOf("/");
    const parent = this.#folder(slash < 0 ? "" : path.slice(0, slash));
    const number = this.#writer.addInode(IMPLIED_FOLDER);
    this.#inodes.set(path, number);
    this.#writer.addEntry(parent, fromByteString(path.slice(slash + 1)), number);
    return number;
  }

  #root(): number {
    const root = this.#inodes.get("") ?? this.#writer.addInode(IMPLIED_FOLDER);
    this.#inodes.set("", root);
    return root;
  }

  /** Zeros up to `offset` of the file: a hole. */
  #skipTo(offset: number): void {
    for (let position = this.#position; position < offset; position = this.#position) {
      const length = Math.min(offset - position, this.#buffer.length - this.#filled);
      this.#buffer.fill(0, this.#filled, this.#filled + length);
      this.#advance(length);
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

function specOf(entry: TarEntry, type: number, chunks: readonly ChunkPlace[]): InodeSpec {
  return {
    mode: type | entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtime: entry.mtimeSec,
    mtimeNsec: entry.mtimeNsec,
    rdev: makedev(entry.devMajor, entry.devMinor),
    size: entry.sizeBytes,
    chunks,
    ...(entry.type === "symlink" ? { target: entry.linkName } : {}),
    xattrs: [...entry.xattrs].map(([name, value]) => [fromByteString(name), value]),
  };
}

/** "./usr//bin/" is "usr/bin". */
function cleanPath(name: Uint8Array): ByteString {
  return toByteString(name).split("/").filter((part) => part !== "" && part !== ".").join("/");
}

function refused(entry: TarEntry, state: string): NydusGdError {
  return new NydusGdError("invalid-image", `Cannot convert "${new TextDecoder().decode(entry.name)}": ${state}`);
}

function zstd(plain: Uint8Array): Uint8Array {
  return zstdCompress(plain, ZSTD_LEVEL);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/**
 * File that holds an EROFS image and its device tables, so that it is built once and mounted many times.
 *
 * ```
 *   0 │ EROFS image, whole blocks: the part that the kernel reads
 *     │ each device: u32 blob, u32 chunks, u32 identical, u32 0, f64 bytes; then its columns (device_table.ts)
 * -96 │ "NGDEROFS" │ u32 layout │ u32 devices │ u64 bytes of the image │ u64 0
 *     │ digest of the bootstrap │ digest of two digests: of the image, and of what lies between it and here
 * ```
 * Little-endian. Digests are SHA-256 of the SHA-256 of each MiB, computed by other threads: of 12 MB while the image is
 * made. To load node:crypto in a Worker would take longer than to digest. A file that is damaged, belongs to another
 * bootstrap or has another layout is treated as absent, because it can be rebuilt from the bootstrap.
 *
 * @module
 */
import { concatenate, equalBytes, writeU64 } from "../../base/bytes.ts";
import type { DeviceTable } from "./device_table.ts";
import type { ErofsImage } from "./erofs_image.ts";
import { readU64 } from "../format/guard.ts";

/** Increase whenever the same bootstrap yields a different file, even if only the image bytes differ. */
const LAYOUT = 3;
const MAGIC = new TextEncoder().encode("NGDEROFS");
const DIGEST_SIZE = 32;
const UUID_SIZE = 16;
/** Byte offsets of the tail. */
const TAIL = { SIZE: 96, magic: 0, layout: 8, devices: 12, imageBytes: 16, bootstrap: 32, digest: 64 } as const;
/** Byte offsets in the header of a device, which precedes its columns. */
const HEAD = { SIZE: 24, blobIndex: 0, count: 4, identical: 8, sizeBytes: 16 } as const;

/** SHA-256. The bytes are copied. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Bytes of which a digest goes into a digest of all, and the number of them in memory. */
const PIECE_BYTES = 1 << 20, PIECES_AT_ONCE = 12;

/** SHA-256 of the SHA-256 of each piece. The first pieces are being digested when this returns. */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const digests: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const pieces: Promise<Uint8Array>[] = [];
    for (; pieces.length < PIECES_AT_ONCE && at < bytes.length; at += PIECE_BYTES) {
      pieces.push(sha256(bytes.subarray(at, at + PIECE_BYTES)));
    }
    digests.push(...await Promise.all(pieces));
  }
  return await sha256(concatenate(digests));
}

/**
 * UUID of the image, different for every tree and {@link LAYOUT}.
 *
 * An overlay remembers from which inode of the image a file was copied, by this UUID and the inode's number, and shows
 * that number as long as it finds the inode; where there is no UUID it does not look for it, so that a new hard link
 * seems to be another file. With the UUID of an image that numbers its inodes otherwise, it would find a wrong one.
 * Source: ovl_lower_uuid_ok and ovl_check_origin of fs/overlayfs, Linux 6.18.
 *
 * @param bootstrap {@link digestOf} the bootstrap
 */
export async function imageUuid(bootstrap: Uint8Array): Promise<Uint8Array> {
  return (await digestOf(concatenate([MAGIC, Uint8Array.of(LAYOUT), bootstrap]))).subarray(0, UUID_SIZE);
}

/**
 * Encodes the file as consecutive pieces.
 *
 * @param bootstrap {@link digestOf} the bootstrap from which the image was made
 */
export async function encodeErofsFile(
  { bytes, devices }: ErofsImage,
  bootstrap: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const tail = new Uint8Array(TAIL.SIZE);
  const view = new DataView(tail.buffer);
  tail.set(MAGIC, TAIL.magic);
  view.setUint32(TAIL.layout, LAYOUT, true);
  view.setUint32(TAIL.devices, devices.length, true);
  writeU64(view, TAIL.imageBytes, bytes.length);
  tail.set(bootstrap, TAIL.bootstrap);
  const tables = devices.flatMap(encodeDevice);
  tail.set(await digestOfBoth(bytes, concatenate([...tables, tail.subarray(0, TAIL.digest)])), TAIL.digest);
  return [bytes, ...tables, tail];
}

/** Digest at the end of the file, of the image and of what follows it. */
async function digestOfBoth(image: Uint8Array<ArrayBuffer>, rest: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return await digestOf(concatenate(await Promise.all([digestOf(image), digestOf(rest)])));
}

function encodeDevice(table: DeviceTable): Uint8Array<ArrayBuffer>[] {
  const head = new Uint8Array(HEAD.SIZE);
  const view = new DataView(head.buffer);
  view.setUint32(HEAD.blobIndex, table.blobIndex, true);
  view.setUint32(HEAD.count, table.count, true);
  view.setUint32(HEAD.identical, table.identical ? 1 : 0, true);
  view.setFloat64(HEAD.sizeBytes, table.sizeBytes, true);
  const { blobOffset, block, length, chunkIndex } = table;
  const columns = [...(blobOffset === undefined ? [] : [blobOffset]), block, length, chunkIndex];
  return [head, ...columns.map(({ buffer }) => new Uint8Array(buffer).slice())];
}

/**
 * Decodes the device tables of `file`; undefined if it is not a valid file for this bootstrap.
 *
 * @param bootstrap {@link digestOf} the bootstrap
 */
export async function decodeErofsFile(
  file: Uint8Array<ArrayBuffer>,
  bootstrap: Uint8Array,
): Promise<DeviceTable[] | undefined> {
  const tailAt = file.length - TAIL.SIZE;
  if (tailAt < 0) return undefined;
  const tail = file.subarray(tailAt);
  const view = new DataView(tail.buffer, tail.byteOffset, TAIL.SIZE);
  const isOurs = equalBytes(tail.subarray(TAIL.magic, MAGIC.length), MAGIC) &&
    view.getUint32(TAIL.layout, true) === LAYOUT &&
    equalBytes(tail.subarray(TAIL.bootstrap, TAIL.bootstrap + DIGEST_SIZE), bootstrap);
  if (!isOurs) return undefined;
  const imageBytes = view.getBigUint64(TAIL.imageBytes, true);
  if (imageBytes > tailAt) return undefined;
  const image = file.subarray(0, Number(imageBytes));
  const digest = await digestOfBoth(image, file.subarray(image.length, tailAt + TAIL.digest));
  if (!equalBytes(digest, tail.subarray(TAIL.digest))) return undefined;
  const reader = new DeviceReader(file, image.length);
  return Array.from({ length: view.getUint32(TAIL.devices, true) }, () => reader.next());
}

/** Whether another version made the file, as far as its end tells: then it need not be damaged. */
export function isOfAnotherLayout(file: Uint8Array): boolean {
  const tail = file.subarray(Math.max(0, file.length - TAIL.SIZE));
  if (tail.length < TAIL.SIZE || !equalBytes(tail.subarray(TAIL.magic, MAGIC.length), MAGIC)) return false;
  return new DataView(tail.buffer, tail.byteOffset, TAIL.SIZE).getUint32(TAIL.layout, true) !== LAYOUT;
}

/** Image at the start of the file, as a view. Does not validate the file: {@link decodeErofsFile} does. */
export function imageIn(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const tail = new DataView(file.buffer, file.byteOffset + file.length - TAIL.SIZE, TAIL.SIZE);
  return file.subarray(0, readU64(tail, TAIL.imageBytes, "EROFS image file"));
}

/** Reads consecutive devices from bytes whose digest has been verified. */
class DeviceReader {
  readonly #view: DataView;

  constructor(private readonly file: Uint8Array, private at: number) {
    this.#view = new DataView(file.buffer, file.byteOffset, file.length);
  }

  next(): DeviceTable {
    const { at } = this;
    const field = (offset: number) => this.#view.getUint32(at + offset, true);
    const count = field(HEAD.count);
    const identical = field(HEAD.identical) === 1;
    this.at += HEAD.SIZE;
    return {
      blobIndex: field(HEAD.blobIndex),
      sizeBytes: this.#view.getFloat64(at + HEAD.sizeBytes, true),
      identical,
      count,
      ...(identical ? {} : { blobOffset: new Float64Array(this.#column(count * 8)) }),
      block: new Uint32Array(this.#column(count * 4)),
      length: new Uint32Array(this.#column(count * 4)),
      chunkIndex: new Uint32Array(this.#column(count * 4)),
    };
  }

  #column(size: number): SharedArrayBuffer {
    const shared = new SharedArrayBuffer(size);
    new Uint8Array(shared).set(this.file.subarray(this.at, this.at + size));
    this.at += size;
    return shared;
  }
}

/**
 * Writes the executable that scripts/launcher/launcher.c reads: the launcher with files appended.
 *
 * ```
 * [launcher ELF][pad to 4096][file]…[table][trailer]        little-endian
 * table:   a row of 128 bytes a file: u64 offset, u64 length, sha256[32], u64 XXH64, u32 mode, name[68] with NUL
 * trailer: 64 bytes: "NGDPACK2", u64 table offset, u64 rows, sha256[32] of the table, u64 0
 * ```
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createXXHash64 } from "hash-wasm";

const ROW = { SIZE: 128, offset: 0, length: 8, digest: 16, xxh64: 48, mode: 56, name: 60 } as const;
const TRAILER = { SIZE: 64, magic: 0, tableOffset: 8, count: 16, tableDigest: 24 } as const;
const MAGIC = "NGDPACK2";
const ALIGNMENT = 4096;
/** Maximum number of rows supported by the launcher. */
const MAX_FILES = 256;

/** A file to append. */
export interface PackedFile {
  /** Plain file name: unpacking creates no folders. */
  readonly name: string;
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
}

/** Identifies a version by its files: 32 hex digits. */
export async function identify(files: readonly PackedFile[]): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, path, mode } of files) hash.update(`${name} ${mode} `).update(sha256(await Deno.readFile(path)));
  return hash.digest("hex").slice(0, 32);
}

/** Writes `target` from the launcher at `launcher` and `files`. */
export async function pack(launcher: string, files: readonly PackedFile[], target: string): Promise<void> {
  if (files.length === 0 || files.length > MAX_FILES) throw new RangeError(`Cannot pack ${files.length} files`);
  const xxh64 = await createXXHash64();
  const stub = await Deno.readFile(launcher);
  let offset = Math.ceil(stub.length / ALIGNMENT) * ALIGNMENT;
  const table = new Uint8Array(files.length * ROW.SIZE);
  const view = new DataView(table.buffer);
  using out = await Deno.open(target, { write: true, create: true, truncate: true });
  await writeAll(out, stub);
  await writeAll(out, new Uint8Array(offset - stub.length));
  for (const [index, file] of files.entries()) {
    const name = new TextEncoder().encode(file.name);
    if (!/^[\w.-]+$/.test(file.name) || name.length >= ROW.SIZE - ROW.name) {
      throw new RangeError(`Cannot pack "${file.name}": not a plain name of at most ${ROW.SIZE - ROW.name - 1} bytes`);
    }
    const bytes = await Deno.readFile(file.path);
    const at = index * ROW.SIZE;
    view.setBigUint64(at + ROW.offset, BigInt(offset), true);
    view.setBigUint64(at + ROW.length, BigInt(bytes.length), true);
    table.set(sha256(bytes), at + ROW.digest);
    view.setBigUint64(at + ROW.xxh64, BigInt(`0x${xxh64.init().update(bytes).digest()}`), true);
    view.setUint32(at + ROW.mode, file.mode, true);
    table.set(name, at + ROW.name);
    await writeAll(out, bytes);
    offset += bytes.length;
  }
  const trailer = new Uint8Array(TRAILER.SIZE);
  const trailerView = new DataView(trailer.buffer);
  trailer.set(new TextEncoder().encode(MAGIC), TRAILER.magic);
  trailerView.setBigUint64(TRAILER.tableOffset, BigInt(offset), true);
  trailerView.setBigUint64(TRAILER.count, BigInt(files.length), true);
  trailer.set(sha256(table), TRAILER.tableDigest);
  await writeAll(out, table);
  await writeAll(out, trailer);
  await Deno.chmod(target, 0o755);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
}

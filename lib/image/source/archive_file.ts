/**
 * Random access to the files in an uncompressed tar. Headers are read once, data on demand.
 *
 * If a name occurs several times, the last one counts. Links within the archive are followed: older versions of `docker
 * save` use them for layers that images share. Sparse files are skipped; image archives have none.
 *
 * @module
 */
import { posix } from "node:path";
import { BLOCK_SIZE, paddingOf, type TarEntry, TarError } from "../../archive/tar.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import type { BlobSource } from "../../backend/blob_source.ts";
import { unshared } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { readAt } from "../../backend/read_at.ts";
import { plainName } from "./archive_names.ts";

/** Bytes of one read while scanning for headers. */
const WINDOW_BYTES = 64 << 10;

/** Maximum links to follow. */
const MAX_LINKS = 8;

/** The position of a file's content in the archive, or the target of a link. */
type Place = { readonly offset: number; readonly size: number } | { readonly target: string };

/** A tar archive whose contents are indexed. */
export class ArchiveFile {
  private constructor(
    readonly path: string,
    private readonly places: ReadonlyMap<string, Place>,
    private readonly whole: BlobSource,
  ) {}

  /**
   * Indexes the archive.
   *
   * @throws {TarError} "invalid-image" if the file is not a tar or is truncated; {NydusGdError} "interrupted"
   */
  static async open(path: string, signal: AbortSignal): Promise<ArchiveFile> {
    return await ArchiveFile.openIf(path, () => true, signal) as ArchiveFile;
  }

  /**
   * Like {@link open}, but returns undefined at the first unexpected name.
   *
   * @param isExpected gets names without "./" and trailing slashes
   */
  static async openIf(
    path: string,
    isExpected: (name: string) => boolean,
    signal: AbortSignal,
  ): Promise<ArchiveFile | undefined> {
    const places = await placesOf(path, isExpected, signal);
    const whole = new LocalFsBackend({ blobFile: path, dir: undefined, altDirs: [] }).blob("archive");
    return places && new ArchiveFile(path, places, whole);
  }

  /** Whether the archive contains a file of that name. */
  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /**
   * Reads a whole small file.
   *
   * @throws {NydusGdError} "not-found", "invalid-image" if it is longer than `maxBytes`
   */
  async read(name: string, maxBytes: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { size } = this.#get(name);
    if (size > maxBytes) {
      const state = `${name} has ${size} bytes, expected ${maxBytes} at most`;
      throw new NydusGdError("invalid-image", `Cannot read archive ${this.path}: ${state}`);
    }
    const options = signal === undefined ? {} : { signal };
    if (size === 0) return new Uint8Array();
    return unshared(await this.source(name).read(0, size, { priority: "on-demand", ...options }));
  }

  /** Returns a file as a blob. A missing file fails on the first read. */
  source(name: string): BlobSource {
    return {
      description: `${name} in archive ${this.path}`,
      read: async (offset, length, options) => {
        const place = this.#get(name);
        if (offset + length <= place.size) return await this.whole.read(place.offset + offset, length, options);
        const state = `it ends at ${place.size}`;
        throw new NydusGdError("io", `Cannot read ${length} bytes at ${offset} of ${name} in ${this.path}: ${state}`);
      },
      size: () => Promise.resolve(this.#get(name).size),
    };
  }

  #get(name: string): { offset: number; size: number } {
    const place = this.#find(name);
    if (place !== undefined) return place;
    throw new NydusGdError("not-found", `Cannot read archive ${this.path}: there is no ${name} in it`);
  }

  #find(name: string): { offset: number; size: number } | undefined {
    let place = this.places.get(plainName(name));
    for (let links = 0; place !== undefined && "target" in place; links++) {
      if (links === MAX_LINKS) return undefined;
      place = this.places.get(place.target);
    }
    return place;
  }
}

async function placesOf(
  path: string,
  isExpected: (name: string) => boolean,
  signal: AbortSignal,
): Promise<Map<string, Place> | undefined> {
  const places = new Map<string, Place>();
  for await (const found of entriesOf(path, signal)) {
    if (!isExpected(plainName(new TextDecoder().decode(found.entry.name)))) return undefined;
    if (found.isCutOff) throw cutOff(path, found.entry);
    note(places, found);
  }
  return places;
}

/** An entry of the archive. */
interface FoundEntry {
  readonly entry: TarEntry;
  /** Byte offset behind its header. */
  readonly offset: number;
  /** Bytes from `offset` to the next header. */
  readonly skipped: number;
  /** Whether its content reaches beyond the end of the archive. */
  readonly isCutOff: boolean;
}

/** Yields the entries in order, reading headers and little else. */
async function* entriesOf(path: string, signal: AbortSignal): AsyncGenerator<FoundEntry> {
  const entries: TarEntry[] = [];
  const reader = new TarReader({ entry: (entry) => entries.push(entry), data: () => {}, endEntry: () => {} });
  using file = await Deno.open(path);
  const { size: archiveSize } = await file.stat();
  for (let at = 0; at < archiveSize && !reader.ended;) {
    const window = await readAt(file, at, Math.min(WINDOW_BYTES, archiveSize - at), signal);
    const isLast = at + window.length === archiveSize;
    let used = 0;
    while (used < window.length && (used + BLOCK_SIZE <= window.length || isLast)) {
      const block = window.subarray(used, used + BLOCK_SIZE);
      reader.push(block);
      const skipped = reader.skip();
      const entry = entries.pop();
      const offset = at + used + block.length;
      used += block.length + skipped;
      if (entry === undefined) continue;
      yield { entry, offset, skipped, isCutOff: offset + entry.sizeBytes > archiveSize && skipped > 0 };
    }
    at += used;
  }
  reader.finish();
}

function cutOff(path: string, { name }: TarEntry): TarError {
  return new TarError(
    `Cannot read archive ${path}: it ends inside of ${JSON.stringify(new TextDecoder().decode(name))}`,
  );
}

function note(places: Map<string, Place>, { entry, offset, skipped }: FoundEntry): void {
  const decoder = new TextDecoder();
  const name = plainName(decoder.decode(entry.name));
  const target = decoder.decode(entry.linkName);
  const { type, sizeBytes: size } = entry;
  if (type === "file" && skipped === size + paddingOf(size)) places.set(name, { offset, size });
  else if (type === "link") places.set(name, { target: plainName(target) });
  else if (type === "symlink") places.set(name, { target: plainName(posix.join(posix.dirname(name), target)) });
  else places.delete(name);
}

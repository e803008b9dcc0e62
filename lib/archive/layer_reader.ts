/**
 * Reads a tar as Docker and containerd read the tar of a layer, so that an image has the same files everywhere.
 *
 * | in the tar | in the layer |
 * |---|---|
 * | an entry of the root: `./`, `/`, `a/..` | ignored: the root of a container is always root's, with mode 0755 |
 * | a time before 1970, or later than 2262-04-11 | 1970-01-01 |
 * | an owner beyond 32 bits | its lowest 32 bits |
 * | the owner -1, which is 4294967295: "unchanged" to chown(2) | 0, that of a new file |
 * | global PAX headers, `LIBARCHIVE.xattr.*`, all but the last extended header | ignored, as by Go's archive/tar |
 *
 * Sources: `createTarFile`, `Unpack` and `boundTime` of moby/go-archive 0.3, pkg/archive of containerd 2.4.
 *
 * @module
 */
import { DOT, SLASH } from "../base/path_bytes.ts";
import type { TarEntry } from "./tar.ts";
import { TarReader, type TarVisitor } from "./tar_reader.ts";

/** The first second that Go's clock of 64-bit nanoseconds does not contain as a whole, and nanoseconds of it in range. */
const LAST_SECOND = 9_223_372_036;
const LAST_NANOSECOND = 854_775_807;

const IDS = 2 ** 32;
const UNCHANGED = IDS - 1;

/** A reader that passes the entries of a layer to `visitor`. */
export function layerReader(visitor: TarVisitor): TarReader {
  return new TarReader(new LayerEntries(visitor), { isLayer: true });
}

class LayerEntries implements TarVisitor {
  #isRoot = false;

  constructor(private readonly visitor: TarVisitor) {}

  entry(entry: TarEntry, at: number): void {
    this.#isRoot = isRootName(entry.name);
    if (this.#isRoot) return;
    entry.uid = ownerOf(entry.uid);
    entry.gid = ownerOf(entry.gid);
    if (!isInRange(entry)) {
      entry.mtimeSec = 0;
      entry.mtimeNsec = 0;
    }
    this.visitor.entry(entry, at);
  }

  data(piece: Uint8Array, offset: number): void {
    if (!this.#isRoot) this.visitor.data(piece, offset);
  }

  endEntry(): void {
    if (!this.#isRoot) this.visitor.endEntry();
  }
}

function ownerOf(id: number): number {
  const low = (id % IDS + IDS) % IDS;
  return low === UNCHANGED ? 0 : low;
}

function isInRange({ mtimeSec, mtimeNsec }: TarEntry): boolean {
  if (mtimeSec < 0) return false;
  return mtimeSec < LAST_SECOND || mtimeSec === LAST_SECOND && mtimeNsec <= LAST_NANOSECOND;
}

/** Whether the name is that of the root, ".." taken lexically. */
function isRootName(name: Uint8Array): boolean {
  const last = name.at(-1);
  if (last !== undefined && last !== SLASH && last !== DOT) return false;
  let depth = 0;
  for (let start = 0; start < name.length;) {
    const slash = name.indexOf(SLASH, start);
    const end = slash < 0 ? name.length : slash;
    const dots = dotsOf(name, start, end);
    if (dots === 2 && --depth < 0) return false;
    if (dots === 0 && end > start) depth++;
    start = end + 1;
  }
  return depth === 0;
}

/** 1 for ".", 2 for "..", 0 for any other part of a name. */
function dotsOf(name: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length === 0 || length > 2 || name[start] !== DOT || name[end - 1] !== DOT) return 0;
  return length;
}

/**
 * What the files of the cache are called: by the blob, and by how an image describes it.
 *
 * A blob's id says what its bytes are, not how they are cut into chunks: where the chunk table is in a blob of its own, or
 * in the bootstrap, two images may cut one blob in two ways. The files of a cache hold chunks of one table alone.
 *
 * ```
 * <id>                          who comes first; the name that nydusd knows
 * <id>@<description>            who describes the blob as a whole in another way
 * <id>@<description>@<chunks>   who describes it so, but contradicts those about single chunks
 * ```
 * Description and chunks are 32 hexadecimal digits of a SHA-256 each. Which of its names an image goes by is read off the
 * disk, so that a successor opens the same files: those of its longest name, if they exist, else the plain one, whose
 * verified.ts says which description it is of. Only files that nydusd left say nothing, and belong to who asks first.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { NydusGdError } from "../../base/errors.ts";
import type { BlobDescriptor, ChunkRecord } from "../../rafs/bootstrap.ts";
import { BLOB_FEATURE } from "../../rafs/flags.ts";

/** Separates the parts of a name; no blob id has it. */
const MARK = "@";
/** Hexadecimal digits of a part. */
export const DESCRIPTION_LENGTH = 32;

/** Features that say how chunks are found. Others differ between images that mean the same. */
const SHAPE = BLOB_FEATURE.chunkInfoV2 | BLOB_FEATURE.zran | BLOB_FEATURE.batch | BLOB_FEATURE.separate |
  BLOB_FEATURE.tarfs;

/** One image's description of a blob, as far as names go. */
export interface NamedBlob {
  readonly descriptor: BlobDescriptor;
  /** Name of the blob where the descriptor has a placeholder. */
  readonly id?: string;
  /** Id of the blob that has the chunk table, where it is another one. */
  readonly metaId?: string | undefined;
  readonly records: () => Iterable<Readonly<ChunkRecord>>;
}

/** The names by which one image's blob may be cached. */
export class BlobNames {
  readonly id: string;
  /** {@link DESCRIPTION_LENGTH} hexadecimal digits, the same for images that describe the blob as a whole in the same way. */
  readonly description: string;
  #exact: string | undefined;

  constructor(private readonly blob: NamedBlob) {
    this.id = blob.id ?? blob.descriptor.id;
    this.description = descriptionOf(blob);
  }

  /** The name by its description. */
  get described(): string {
    return describedName(this.id, this.description);
  }

  /** The name that no other description has. Walks the chunks of the image. */
  get exact(): string {
    return this.#exact ??= this.described + MARK + chunksDigest(this.blob);
  }

  /** No name, but what is known when some blob of this description has its {@link exact} name: see {@link tracesOf}. */
  get contradicted(): string {
    return this.described + MARK;
  }

  /** Whose the files are that such an image uses: see {@link ownerOf}. */
  get owners(): readonly string[] {
    return [this.id, this.described];
  }

  /** The next name to try after a conflict; undefined: there is none. */
  after(name: string, { about }: DescriptionConflict): string | undefined {
    const next = about === "blob" && name === this.id ? this.described : this.exact;
    return next === name ? undefined : next;
  }
}

/** The files of a name are of another description of the blob. */
export class DescriptionConflict extends NydusGdError {
  /** @param about whether it is the whole that is described in another way, or single chunks are */
  constructor(id: string, readonly about: "blob" | "chunks", state: string, cause?: unknown) {
    super("invalid-image", `Cannot open blob ${id}: ${state}`, { cause });
  }
}

/** Whether it is the form of a name: an id of `[A-Za-z0-9._-]` without "..", and parts. */
export function isBlobName(name: string): boolean {
  return /^[A-Za-z0-9._-]+(@[0-9a-f]{32}){0,2}$/.test(name) && !name.includes("..");
}

/**
 * What a name that is not the id says to whoever looks for his own: itself, and for the longest form also
 * {@link BlobNames.contradicted}.
 */
export function tracesOf(name: string): string[] {
  const [id, description, chunks] = name.split(MARK);
  if (description === undefined) return [];
  return chunks === undefined ? [name] : [name, `${id}${MARK}${description}${MARK}`];
}

/**
 * Whose the files of a name are: the blob's with its description, or the blob's alone where that is not known.
 *
 * @param claimed what the files themselves say; only asked where the name does not
 */
export function ownerOf(name: string, claimed: () => string | undefined): string {
  const [id = "", description = claimed()] = name.split(MARK);
  return description === undefined ? id : describedName(id, description);
}

/** The blob that a name, or an owner, is of. */
export function idOf(name: string): string {
  return name.split(MARK, 1)[0] as string;
}

function describedName(id: string, description: string): string {
  return id + MARK + description;
}

function descriptionOf({ descriptor, metaId }: NamedBlob): string {
  const { compressor, digester, chunkCount, uncompressedSize, features, meta, cipher } = descriptor;
  const key = cipher === undefined ? null : [cipher.key.toHex(), cipher.iv.toHex()];
  const place = meta && [meta.compressor, meta.offset, meta.compressedSize, meta.uncompressedSize];
  const facts = [compressor, digester, chunkCount, uncompressedSize, features & SHAPE, place, metaId, key];
  return part(createHash("sha256").update(JSON.stringify(facts)).digest("hex"));
}

function chunksDigest({ descriptor, records }: NamedBlob): string {
  const hash = createHash("sha256");
  for (const record of records()) {
    if (record.blobIndex !== descriptor.index) continue;
    const { chunkIndex, uncompressedOffset, uncompressedSize, compressedOffset, compressedSize, flags } = record;
    const place = [chunkIndex, uncompressedOffset, uncompressedSize, compressedOffset, compressedSize, flags];
    hash.update(Float64Array.from(place)).update(record.digest);
  }
  return part(hash.digest("hex"));
}

function part(hex: string): string {
  return hex.slice(0, DESCRIPTION_LENGTH);
}

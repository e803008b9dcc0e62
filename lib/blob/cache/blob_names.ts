/**
 * Names of cache files: derived from the blob, and from how an image describes the blob.
 *
 * A blob's id identifies its bytes, not how they are cut into chunks. When the chunk table is in a separate blob or in
 * the bootstrap, two images may cut the same blob in different ways. A set of cache files holds chunks of one table
 * only.
 *
 * ```
 * <id>                          the first description seen; the name that nydusd knows
 * <id>@<description>            a description that differs for the blob as a whole
 * <id>@<description>@<chunks>   same description of the whole, but contradicting single chunks
 * ```
 * Description and chunks are 32 hexadecimal digits of a SHA-256 each. The name that an image uses is determined from
 * the files on disk, so that a successor opens the same files: those of the image's longest name if they exist, else
 * the plain name, whose verified.ts file records which description it belongs to. Only files left by nydusd lack that
 * record; they belong to the first image that asks for them.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { NydusGdError } from "../../base/errors.ts";
import type { BlobDescriptor, ChunkRecord } from "../../rafs/bootstrap.ts";
import { BLOB_FEATURE } from "../../rafs/format/flags.ts";

/** Separates the parts of a name. No blob id contains it. */
const MARK = "@";
/** Hexadecimal digits of a part. */
export const DESCRIPTION_LENGTH = 32;

/** Features that affect how chunks are located. Other features may differ between equivalent descriptions. */
const SHAPE = BLOB_FEATURE.chunkInfoV2 | BLOB_FEATURE.zran | BLOB_FEATURE.batch | BLOB_FEATURE.separate |
  BLOB_FEATURE.tarfs;

/** The part of an image's description of a blob that determines names. */
export interface NamedBlob {
  readonly descriptor: BlobDescriptor;
  /** Name of the blob if the descriptor has a placeholder. */
  readonly id?: string;
  /** Id of the blob that contains the chunk table, if it is a separate one. */
  readonly metaId?: string | undefined;
  readonly records: () => Iterable<Readonly<ChunkRecord>>;
}

/** The names under which one image's blob may be cached. */
export class BlobNames {
  readonly id: string;
  /**
   * {@link DESCRIPTION_LENGTH} hexadecimal digits, equal for images with the same description of the blob as a whole.
   */
  readonly description: string;
  #exact: string | undefined;

  constructor(private readonly blob: NamedBlob) {
    this.id = blob.id ?? blob.descriptor.id;
    this.description = descriptionOf(blob);
  }

  get descriptor(): BlobDescriptor {
    return this.blob.descriptor;
  }

  /** The name with the description. */
  get described(): string {
    return describedName(this.id, this.description);
  }

  /** The name unique to this description including its chunks. Computing it walks the chunks of the image. */
  get exact(): string {
    return this.#exact ??= this.described + MARK + chunksDigest(this.blob);
  }

  /**
   * Not a file name: a trace that exists once any blob of this description has an {@link exact} name. See
   * {@link tracesOf}.
   */
  get contradicted(): string {
    return this.described + MARK;
  }

  /** Possible owners of the files that this image uses. See {@link ownerOf}. */
  get owners(): readonly string[] {
    return [this.id, this.described];
  }

  /** The next name to try after a conflict; undefined if there is none. */
  after(name: string, { about }: DescriptionConflict): string | undefined {
    const next = about === "blob" && name === this.id ? this.described : this.exact;
    return next === name ? undefined : next;
  }
}

/** The files of a name belong to a different description of the blob. */
export class DescriptionConflict extends NydusGdError {
  /** @param about whether the descriptions differ for the whole blob or for single chunks */
  constructor(id: string, readonly about: "blob" | "chunks", state: string, cause?: unknown) {
    super("invalid-image", `Cannot open blob ${id}: ${state}`, { cause });
  }
}

/** Whether `name` is well-formed: an id of `[A-Za-z0-9._-]` without "..", optionally followed by parts. */
export function isBlobName(name: string): boolean {
  return /^[A-Za-z0-9._-]+(@[0-9a-f]{32}){0,2}$/.test(name) && !name.includes("..");
}

/**
 * What the existence of a name other than the id implies for lookups: the name itself, and for the longest form also
 * {@link BlobNames.contradicted}.
 */
export function tracesOf(name: string): string[] {
  const [id, description, chunks] = name.split(MARK);
  if (description === undefined) return [];
  return chunks === undefined ? [name] : [name, `${id}${MARK}${description}${MARK}`];
}

/**
 * Owner of the files of a name: the blob with its description, or the blob alone if the description is not known.
 *
 * @param claimed reads the description from the files; called only if the name does not contain it
 */
export function ownerOf(name: string, claimed: () => string | undefined): string {
  const [id = "", description = claimed()] = name.split(MARK);
  return description === undefined ? id : describedName(id, description);
}

/** The blob id of a name or an owner. */
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

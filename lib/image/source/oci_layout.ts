/**
 * Images in an OCI layout: `index.json` lists manifests, `blobs/sha256/` holds all content by digest.
 *
 * In a layout with several images, the annotation `org.opencontainers.image.ref.name` selects one by its tag or its
 * whole name. Source: OCI image spec 1.1, image-layout.md.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Backend } from "../../backend/blob_source.ts";
import { type ErrorDetails, hasCode, ignore, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.ts";
import {
  artifactKind,
  bootstrapLayer,
  type Index,
  type Manifest,
  type ManifestDocument,
  MAX_INDEX_BYTES,
  parseManifestDocument,
} from "../../oci/manifest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { isEntryFor } from "../../oci/index_entry.ts";
import type { ArchiveFile } from "./archive_file.ts";
import { archiveFiles, folderFiles, type LayoutFiles } from "./layout_files.ts";

/** The annotation with the name of an image in index.json. */
export const REF_NAME = "org.opencontainers.image.ref.name";

/** Maximum names in a hint. */
const MAX_HINTED = 8;

/** Maximum nesting of indexes. */
const MAX_DEPTH = 4;

/** The file that says that a folder is a layout. */
export const LAYOUT_FILE = "oci-layout";

/** The file that lists the images. */
export const INDEX_FILE = "index.json";

/** For folders that are no layout. */
const HINT = "oci:DIR or oci:DIR:TAG, where DIR has index.json";

/** Marks the name of a layout folder. */
const PREFIX = "oci:";

/** Selects between the images of one name: a lazy one, or one with ordinary layers. */
export type WantedKind = "nydus" | "ordinary";

/** One image of a layout. */
export class OciLayout {
  private constructor(private readonly files: LayoutFiles, readonly tag: string | undefined) {}

  /** Whether `text` names a layout folder: `oci:DIR` or `oci:DIR:TAG`. */
  static isNamed(text: string): boolean {
    return text.startsWith(PREFIX);
  }

  /** @throws {NydusGdError} "not-found" if there is no such folder */
  static async open(text: string): Promise<OciLayout> {
    const path = text.slice(PREFIX.length);
    if (await isFolder(path)) return new OciLayout(folderFiles(path), undefined);
    const colon = path.lastIndexOf(":");
    const dir = path.slice(0, Math.max(colon, 0));
    if (dir !== "" && await isFolder(dir)) return new OciLayout(folderFiles(dir), path.slice(colon + 1));
    throw new NydusGdError("not-found", `Cannot read image ${text}: there is no such folder`, { hint: HINT });
  }

  /** Opens a layout in an archive; undefined for an archive of something else. */
  static ofArchive(archive: ArchiveFile, tag: string | undefined): OciLayout | undefined {
    const isLayout = archive.has(LAYOUT_FILE) && archive.has(INDEX_FILE);
    return isLayout ? new OciLayout(archiveFiles(archive), tag) : undefined;
  }

  /** The blobs of the layout, named by their sha256. */
  get blobs(): Backend {
    return this.files.blobs;
  }

  get description(): string {
    return `${this.files.description}${this.tag === undefined ? "" : `:${this.tag}`}`;
  }

  /**
   * Returns the entries of index.json with the requested name, for any platform. @throws {NydusGdError} "not-found" if
   * none
   */
  async named(): Promise<Descriptor[]> {
    const document = await this.#index();
    const found = namedIn(document, this.tag);
    if (found.length > 0) return found;
    throw this.#isNotListed(document);
  }

  /** Returns the entries of index.json whose subject is `subject`. */
  async referrers(subject: Digest): Promise<Descriptor[]> {
    const document = await this.#index();
    const found: Descriptor[] = [];
    for (const entry of document.kind === "index" ? document.index.manifests : []) {
      const listed = await this.#listed(entry);
      const { subject: itsSubject } = listed.kind === "index" ? listed.index : listed.manifest;
      if (itsSubject?.digest === subject) found.push(entry);
    }
    return found;
  }

  /**
   * Returns the manifest for this machine.
   *
   * @throws {NydusGdError} "not-found", "invalid-image", "corrupt"
   */
  async manifest(kind: WantedKind): Promise<Manifest> {
    const document = await this.#index();
    if (document.kind === "index" && namedIn(document, this.tag).length === 0) throw this.#isNotListed(document);
    const found = await this.#search(document, this.tag, kind, MAX_DEPTH);
    // an image of one layer may be of either kind; an annotated one takes precedence
    const manifest = found.find((each) => bootstrapLayer(each) !== undefined) ?? found[0];
    if (manifest !== undefined) return manifest;
    throw this.#absent(`it has ${kind === "nydus" ? "no nydus image" : "no ordinary image"} for this machine`);
  }

  #isNotListed(document: ManifestDocument): NydusGdError {
    const names = new Set(namedIn(document, undefined).flatMap(({ annotations }) => annotations?.[REF_NAME] ?? []));
    const some = [...names].slice(0, MAX_HINTED).join(", ");
    return this.#absent("index.json lists no such image", some === "" ? {} : { hint: `it lists ${some}` });
  }

  #absent(state: string, details: ErrorDetails = {}): NydusGdError {
    return new NydusGdError("not-found", `Cannot read image ${this.description}: ${state}`, details);
  }

  /**
   * Reads a whole small blob and verifies its digest.
   *
   * @throws {NydusGdError} "not-found", "invalid-image" if it is longer than `maxBytes`, "corrupt"
   */
  async blob(descriptor: Pick<Descriptor, "digest" | "size">, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const { digest, size } = descriptor;
    const algorithm = digestAlgorithm(digest);
    const bytes = await this.files.read(`blobs/${algorithm}/${digestHex(digest)}`, Math.min(size, maxBytes));
    const actual = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
    if (actual === digest) return bytes;
    throw new NydusGdError("corrupt", `Cannot read blob ${digest} of ${this.description}: its digest is ${actual}`);
  }

  async #index(): Promise<ManifestDocument> {
    const name = `${INDEX_FILE} of ${this.description}`;
    try {
      return parseManifestDocument(await this.files.read(INDEX_FILE, MAX_INDEX_BYTES), MEDIA_TYPE.ociIndex, name);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      throw new NydusGdError(error.code, error.message, { hint: HINT, cause: error });
    }
  }

  /** Reads a manifest or index that an index lists. */
  async #listed(entry: Descriptor): Promise<ManifestDocument> {
    const name = `manifest ${entry.digest} of ${this.description}`;
    return parseManifestDocument(await this.blob(entry, MAX_INDEX_BYTES), entry.mediaType, name);
  }

  /** Returns all matching manifests, in index order. */
  async #search(
    document: ManifestDocument,
    tag: string | undefined,
    kind: WantedKind,
    depth: number,
  ): Promise<Manifest[]> {
    if (document.kind === "manifest") return isKind(document.manifest, kind) ? [document.manifest] : [];
    if (depth === 0) {
      throw new NydusGdError("invalid-image", `Cannot read image ${this.description}: indexes are nested too deeply`);
    }
    const found: Manifest[] = [];
    for (const entry of entriesOf(document.index, tag)) {
      const inner = await this.#listed(entry);
      found.push(...await this.#search(inner, undefined, kind, depth - 1));
    }
    return found;
  }
}

/** Returns the entries of an index for this machine with the given name. */
function entriesOf({ manifests }: Index, tag: string | undefined): Descriptor[] {
  const host = hostPlatform();
  return manifests.filter((entry) => hasName(entry, tag) && isEntryFor(entry, host));
}

/** Returns the entries of index.json with the given name, for any platform. */
function namedIn(document: ManifestDocument, tag: string | undefined): Descriptor[] {
  return document.kind === "index" ? document.index.manifests.filter((entry) => hasName(entry, tag)) : [];
}

function hasName({ annotations }: Descriptor, tag: string | undefined): boolean {
  const name = annotations?.[REF_NAME];
  return tag === undefined || name === tag || (name?.endsWith(`:${tag}`) ?? false);
}

/** Nydus images are recognized by the annotation of their last layer, or, without it, by having only one layer. */
function isKind(manifest: Manifest, kind: WantedKind): boolean {
  if (artifactKind(manifest) !== undefined) return false;
  if (kind === "ordinary") return bootstrapLayer(manifest) === undefined;
  return bootstrapLayer(manifest) !== undefined || manifest.layers.length === 1;
}

async function isFolder(path: string): Promise<boolean> {
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
  return info?.isDirectory ?? false;
}

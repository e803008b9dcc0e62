/**
 * The registry of an image's blobs as named by the image itself: `image/nydus-gd.json` in the bootstrap layer.
 *
 * ```json
 * {"version":1,"registry":"registry.example.com","repository":"team/app",
 *  "blobs":[{"digest":"sha256:…","size":1048576}]}
 * ```
 * `docker save`, `push` and `commit` copy the layer but not its blobs; this file says where they remain. Anyone can
 * build an image with this file, so lazy/open/backend_candidates.ts limits how far it is trusted. It contains no
 * credentials, no scheme and no path. Sizes are bytes of a blob in the registry. Format: docs/formats.md.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { formatPath, parseWith, unknownKeys } from "../../base/schema.ts";
import { digestSchema, sizeSchema } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.ts";
import { isRegistryHost, isRepository } from "../../oci/reference.ts";

/** Name of the file next to the bootstrap. */
export const ORIGIN_FILE = "nydus-gd.json";

/** Maximum size of the file: twice that of one with {@link MAX_BLOBS} blobs. */
const MAX_ORIGIN_BYTES = 1 << 20;
/** RAFS has 16-bit blob numbers, and images have one blob per layer. */
const MAX_BLOBS = 4096;

const OriginSchema = v.object({
  version: v.literal(1),
  /** "registry.example.com:5000", "docker.io". */
  registry: v.pipe(v.string(), v.check(isRegistryHost, "is not HOST or HOST:PORT")),
  /** "library/nginx". */
  repository: v.pipe(v.string(), v.check(isRepository, "is not a repository name")),
  blobs: v.pipe(
    v.array(v.object({ digest: v.pipe(digestSchema, v.check(isSha256, "is not a sha256 digest")), size: sizeSchema })),
    v.maxLength(MAX_BLOBS, `has more than ${MAX_BLOBS} entries`),
  ),
});

/** The location of an image's blobs. */
export interface BlobOrigin {
  /** HOST or HOST:PORT. */
  readonly registry: string;
  readonly repository: string;
  /** Size of each blob in bytes, by ID: the hexadecimal part of its digest. */
  readonly blobSizes: ReadonlyMap<string, number>;
}

/**
 * Serializes the file.
 *
 * @throws {NydusGdError} "usage" for a document that {@link parseBlobOrigin} would refuse
 */
export function formatBlobOrigin({ registry, repository, blobSizes }: BlobOrigin): string {
  const blobs = [...blobSizes].map(([id, size]) => ({ digest: `sha256:${id}`, size }));
  const document = { version: 1, registry, repository, blobs };
  const result = parseWith(OriginSchema, document);
  if (result.ok) return `${JSON.stringify(document)}\n`;
  throw new NydusGdError("usage", `Cannot write ${ORIGIN_FILE}: ${formatPath(result.path)} ${result.state}`);
}

/**
 * Parses the file.
 *
 * @throws {NydusGdError} "unsupported" for a later version, "invalid-image" for an invalid document
 */
export function parseBlobOrigin(text: string): BlobOrigin {
  const document = parseJson(text);
  const { version } = Object(document) as { version?: unknown };
  if (typeof version === "number" && version > 1) {
    throw new NydusGdError("unsupported", `Cannot read ${ORIGIN_FILE}: its version ${version} is not known`, {
      hint: "update nydus-gd, or set device.backend in the configuration",
    });
  }
  const [unknown] = unknownKeys(OriginSchema, document);
  if (unknown !== undefined) throw unreadable(`${formatPath(unknown)} is not known`);
  const result = parseWith(OriginSchema, document);
  if (!result.ok) throw unreadable(`${formatPath(result.path)} ${result.state}`);
  const { registry, repository, blobs } = result.value;
  return { registry, repository, blobSizes: new Map(blobs.map(({ digest, size }) => [digestHex(digest), size])) };
}

/**
 * Reads the file of a layer; undefined if there is none.
 *
 * @param folder folder of the bootstrap in the layer; its content is controlled by the image's author
 * @throws as {@link parseBlobOrigin}; "invalid-image" if it is not a regular file or too large
 */
export function readBlobOrigin(folder: string): BlobOrigin | undefined {
  const path = join(folder, ORIGIN_FILE);
  try {
    using file = open(path, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    const { mode, size } = fstat(file);
    if ((mode & S.IFMT) !== S.IFREG) throw unreadable("it is not a file");
    if (size > MAX_ORIGIN_BYTES) throw unreadable(`${size} bytes exceed ${MAX_ORIGIN_BYTES}`);
    const bytes = new Uint8Array(size);
    preadExact(file, bytes, 0);
    return parseBlobOrigin(new TextDecoder().decode(bytes));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    if (error instanceof NydusGdError) throw error;
    throw unreadable(messageOf(error), error);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreadable("it is not valid JSON", error);
  }
}

function isSha256(digest: Digest): boolean {
  return digestAlgorithm(digest) === "sha256";
}

function unreadable(state: string, cause?: unknown): NydusGdError {
  return new NydusGdError("invalid-image", `Cannot read ${ORIGIN_FILE}: ${state}`, { cause });
}

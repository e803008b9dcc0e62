/**
 * Fetches manifests, indexes and small blobs of a repository, and verifies their digests. A response with another digest
 * is retried: what is stored is seldom wrong, but a response may be cut or changed on its way.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, isDigest, parseDigest } from "../../oci/digest.ts";
import { type ManifestDocument, MAX_INDEX_BYTES, parseManifestDocument } from "../../oci/manifest.ts";
import { MANIFEST_ACCEPT } from "../../oci/media_types.ts";
import type { ReadOptions, ReadProgress } from "../blob_source.ts";
import { requirePlain } from "../http/content_encoding.ts";
import { TransferError } from "../http/transfer_error.ts";
import type { HostWish, Repository } from "./repository.ts";

/** A fetched manifest or index. */
export interface FetchedManifest {
  /** The bytes over which the digest is computed. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: Digest;
  readonly document: ManifestDocument;
}

/**
 * Fetches the manifest or index `name`, a tag or a digest.
 *
 * @throws {NydusGdError} "not-found"; "corrupt" if its bytes do not match; "invalid-image"; and what the transport
 * throws
 */
export async function getManifest(
  repository: Repository,
  name: string,
  signal?: AbortSignal,
): Promise<FetchedManifest> {
  const named = `manifest ${name} from ${repository.description}`;
  const what = `read ${named}`;
  return await repository.request(
    { method: "GET", path: manifestPath(repository, name), headers: { accept: MANIFEST_ACCEPT.join(", ") }, what },
    onDemand(signal),
    async (response) => {
      requirePlain(response);
      const bytes = await response.bytes(MAX_INDEX_BYTES);
      const claimed = response.header("docker-content-digest");
      const expected = isDigest(name) ? name : claimed !== undefined && isDigest(claimed) ? claimed : undefined;
      const digest = digestOf(bytes, expected === undefined ? "sha256" : digestAlgorithm(expected));
      if (expected !== undefined && digest !== expected) throw wrongDigest(`${digest}, expected ${expected}`);
      return { bytes, digest, document: parseManifestDocument(bytes, response.header("content-type") ?? "", named) };
    },
    wishFor(name),
  );
}

/** Whether there is a manifest `name`, whatever else the answer says: some registries omit digest and size there. */
export async function hasManifest(repository: Repository, name: string, signal?: AbortSignal): Promise<boolean> {
  const what = `find manifest ${name} in ${repository.description}`;
  const headers = { accept: MANIFEST_ACCEPT.join(", ") };
  const head = { method: "HEAD", path: manifestPath(repository, name), headers, what } as const;
  try {
    await repository.request(head, onDemand(signal), (response) => response.discard(), wishFor(name));
    return true;
  } catch (error) {
    if (hasCode(error, "not-found")) return false;
    throw error;
  }
}

/** Options of {@link getSmallBlob}. */
export interface SmallBlobOptions {
  /** A descriptor of more bytes is refused before the fetch. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ReadProgress | undefined;
  /** Allocates the result, once per attempt. It may be unmapped once the call has ended. */
  readonly memory?: (sizeBytes: number) => Uint8Array<ArrayBuffer>;
}

/**
 * Fetches a whole small blob, such as an image's configuration or a bootstrap layer.
 *
 * @throws {NydusGdError} "corrupt" if its bytes do not match its digest; "invalid-image" if it is too large
 */
export async function getSmallBlob(
  repository: Repository,
  descriptor: Pick<Descriptor, "digest" | "size">,
  { maxBytes, signal, onProgress, memory = ordinaryMemory }: SmallBlobOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const { digest, size } = descriptor;
  const what = `read blob ${digest} from ${repository.description}`;
  if (size > maxBytes) throw new NydusGdError("invalid-image", `Cannot ${what}: ${size} bytes exceed ${maxBytes}`);
  const path = `/v2/${repository.name}/blobs/${digest}`;
  return await repository.request({ method: "GET", path, what }, onDemand(signal), async (response) => {
    requirePlain(response);
    const bytes = memory(size);
    await response.fill(bytes, onProgress);
    const actual = digestOf(bytes, digestAlgorithm(digest));
    if (actual !== digest) throw wrongDigest(actual);
    return bytes;
  });
}

function wrongDigest(state: string): TransferError {
  return new TransferError("corrupt", `its digest is ${state}`, { prospect: "transient" });
}

function ordinaryMemory(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(sizeBytes);
}

/** Content addressed by digest can come from any host; what a tag stands for requires trust. */
function wishFor(name: string): HostWish {
  return { capability: isDigest(name) ? "pull" : "resolve" };
}

function digestOf(bytes: Uint8Array, algorithm: string): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`);
}

/** Returns the path of a manifest, by tag or digest. */
export function manifestPath(repository: Repository, name: string): string {
  return `/v2/${repository.name}/manifests/${encodeURIComponent(name).replaceAll("%3A", ":")}`;
}

function onDemand(signal: AbortSignal | undefined): ReadOptions {
  return { priority: "on-demand", ...(signal === undefined ? {} : { signal }) };
}

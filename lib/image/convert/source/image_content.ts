/**
 * Read access to an image: manifests and configurations by digest, layers as streams.
 *
 * @module
 */
import type { Backend } from "../../../backend/blob_source.ts";
import { type BackendDeps, openRegistry } from "../../../backend/open_backend.ts";
import { getManifest, getSmallBlob } from "../../../backend/registry/manifest.ts";
import { getReferrers } from "../../../backend/registry/referrers.ts";
import { NydusGdError } from "../../../base/errors.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { Digest } from "../../../oci/digest.ts";
import { MAX_INDEX_BYTES } from "../../../oci/manifest.ts";
import { formatReference, manifestName, type Reference } from "../../../oci/reference.ts";
import type { OciLayout } from "../../source/oci_layout.ts";

/** A manifest or an index. */
export interface ImageDocument {
  /** The exact bytes that the digest covers. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mediaType: string;
}

/** One repository of a registry. */
export interface RepositoryPlace {
  readonly registry: string;
  readonly repository: string;
}

/** Where an image's documents and blobs are read from. */
export interface ImageContent {
  /** For messages: "docker.io/library/nginx:latest", "oci:layout:1". */
  readonly description: string;
  /** Source for cross-repository mounts of blobs; undefined if it is not a registry. */
  readonly place: RepositoryPlace | undefined;
  /** Layer blobs by sha256. */
  readonly blobs: Backend;
  /** The documents that the image's name refers to, in order of preference. */
  named(signal: AbortSignal): Promise<ImageDocument[]>;
  /** Reads a manifest listed in an index. */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<ImageDocument>;
  /** Referrers of a manifest, such as signatures and bills of materials; empty if none are known. */
  referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]>;
  /** Reads a whole small blob and verifies its digest. */
  small(descriptor: Descriptor, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

/** A place that stores blobs. */
export type BlobHome = Pick<ImageContent, "blobs" | "place">;

/** An image of a layout. */
export function layoutContent(layout: OciLayout): ImageContent {
  const document = async (descriptor: Descriptor): Promise<ImageDocument> => ({
    bytes: await layout.blob(descriptor, MAX_INDEX_BYTES),
    mediaType: descriptor.mediaType,
  });
  return {
    description: layout.description,
    place: undefined,
    blobs: layout.blobs,
    named: async () => await Promise.all((await layout.named()).map(document)),
    document,
    referrers: (subject) => layout.referrers(subject),
    small: (descriptor, maxBytes) => layout.blob(descriptor, maxBytes),
  };
}

/** An image of a registry. */
export function registryContent(reference: Reference, deps: BackendDeps): ImageContent {
  const { host, repository } = reference;
  const registry = openRegistry({ host, repo: repository }, deps);
  const fetch = async (name: string, signal: AbortSignal): Promise<ImageDocument> => {
    const { bytes, document } = await getManifest(registry.transport, name, signal);
    return { bytes, mediaType: document.mediaType };
  };
  return {
    description: formatReference(reference),
    place: { registry: host, repository },
    blobs: registry,
    named: async (signal) => [await fetch(manifestName(reference), signal)],
    document: ({ digest }, signal) => fetch(digest, signal),
    referrers: (subject, signal) => getReferrers(registry.transport, subject, signal),
    small: (descriptor, maxBytes, signal) => getSmallBlob(registry.transport, descriptor, { maxBytes, signal }),
  };
}

/** The error for an image that cannot be converted. */
export function unconvertible(what: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("unsupported", `Cannot convert ${what}: ${state}`, hint === undefined ? {} : { hint });
}

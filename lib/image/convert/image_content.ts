/**
 * What an image is read from: manifests and configurations by their digests, layers as streams.
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import { type BackendDeps, openRegistry } from "../../backend/open_backend.ts";
import { getManifest, getSmallBlob } from "../../backend/registry/manifest.ts";
import { getReferrers } from "../../backend/registry/referrers.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { MAX_INDEX_BYTES } from "../../oci/manifest.ts";
import { formatReference, manifestName, type Reference } from "../../oci/reference.ts";
import type { OciLayout } from "../source/oci_layout.ts";

/** A manifest or an index. */
export interface Document {
  /** The very bytes that its digest is of. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mediaType: string;
}

/** One repository of a registry. */
export interface RepositoryPlace {
  readonly registry: string;
  readonly repository: string;
}

/** See the module. */
export interface ImageContent {
  /** For messages: "docker.io/library/nginx:latest", "oci:layout:1". */
  readonly description: string;
  /** Where blobs are that can be mounted from there; undefined for what is no registry. */
  readonly place: RepositoryPlace | undefined;
  /** Layers by their sha256. */
  readonly blobs: Backend;
  /** What the image's name stands for, in the order of preference. */
  named(signal: AbortSignal): Promise<Document[]>;
  /** A manifest that an index lists. */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<Document>;
  /** What refers to a manifest: signatures, bills of materials; none where nobody knows of any. */
  referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]>;
  /** A whole small blob, compared with its digest. */
  small(descriptor: Descriptor, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

/** An image of a layout. */
export function layoutContent(layout: OciLayout): ImageContent {
  const document = async (descriptor: Descriptor): Promise<Document> => ({
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
  const fetch = async (name: string, signal: AbortSignal): Promise<Document> => {
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
    small: (descriptor, maxBytes, signal) => getSmallBlob(registry.transport, descriptor, maxBytes, signal),
  };
}

/** What an image says that cannot be converted. */
export function unconvertible(what: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("unsupported", `Cannot convert ${what}: ${state}`, hint === undefined ? {} : { hint });
}

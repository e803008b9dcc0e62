/**
 * Looks for the data of an image without fetching any: what a pull leaves for later must be there.
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import { hasCode } from "../../base/errors.ts";
import type { Reference } from "../../oci/reference.ts";
import { cannotPull } from "./pull_failure.ts";

/** Data of an image that stay where they are. */
export interface BlobsLeft {
  /** Who has them: "registry 127.0.0.1:5000/app". */
  readonly home: string;
  readonly isRegistry: boolean;
  /** Bytes at home, by id. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** Where an image's blobs may be. */
export interface BlobHomes {
  /** The repository that the image is in. */
  readonly registry: Backend;
  /** The configured backend, where it is no registry; asked when the repository lacks a blob. */
  readonly configured: Backend | undefined;
}

/**
 * The blobs at the first home that has all of them.
 *
 * @throws {NydusGdError} "not-found" with what is missing; what a home answers otherwise
 */
export async function findBlobs(
  ids: readonly string[],
  { registry, configured }: BlobHomes,
  reference: Reference,
  signal: AbortSignal,
): Promise<BlobsLeft> {
  const atHome = await sizesAt(registry, ids, signal);
  if (atHome.size === ids.length) return { home: registry.description, isRegistry: true, sizes: atHome };
  const elsewhere = configured && await sizesAt(configured, ids, signal);
  if (configured !== undefined && elsewhere?.size === ids.length) {
    return { home: configured.description, isRegistry: false, sizes: elsewhere };
  }
  const missing = ids.filter((id) => !atHome.has(id));
  const state = `${missing.length} of its ${ids.length} blobs ${missing.length === 1 ? "is" : "are"} gone from ` +
    `${registry.description}${configured === undefined ? "" : ` and not in ${configured.description}`}: ${missing[0]}`;
  throw cannotPull("not-found", reference, state, "push the image again, or set device.backend in the configuration");
}

/** Those that are there. */
async function sizesAt(home: Backend, ids: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  await Promise.all(ids.map(async (id) => {
    try {
      sizes.set(id, await home.blob(id).size(signal));
    } catch (error) {
      // an id that is no digest is in no registry
      if (!hasCode(error, "not-found", "invalid-image")) throw error;
    }
  }));
  return new Map(ids.flatMap((id) => sizes.has(id) ? [[id, sizes.get(id) ?? 0] as const] : [])); // in the image's order
}

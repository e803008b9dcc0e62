/**
 * Locates the data of an image without fetching it: everything a pull leaves for later must exist.
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import { hasCode } from "../../base/errors.ts";
import type { Reference } from "../../oci/reference.ts";
import { cannotPull } from "./pull_failure.ts";

/** Data of an image that is not fetched yet. */
export interface BlobsLeft {
  /** The backend that has it: "registry 127.0.0.1:5000/app". */
  readonly home: string;
  readonly isRegistry: boolean;
  /** Stored bytes by blob id. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** Backends that may have an image's blobs. */
export interface BlobHomes {
  /** The repository of the image. */
  readonly registry: Backend;
  /** The configured backend if it is not a registry; used if the repository lacks a blob. */
  readonly configured: Backend | undefined;
}

/**
 * Returns the blobs in the first backend that has all of them.
 *
 * @throws {NydusGdError} "not-found" naming what is missing; other errors of a backend
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
  const hint = "push the image again, or set device.backend in the configuration";
  throw cannotPull("not-found", reference, state, { hint });
}

/** Sizes of the blobs that exist. */
async function sizesAt(home: Backend, ids: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  await Promise.all(ids.map(async (id) => {
    try {
      sizes.set(id, await home.blob(id).size(signal));
    } catch (error) {
      // no registry has a blob whose id is not a digest
      if (!hasCode(error, "not-found", "invalid-image")) throw error;
    }
  }));
  return new Map(ids.flatMap((id) => sizes.has(id) ? [[id, sizes.get(id) ?? 0] as const] : [])); // in the image's order
}

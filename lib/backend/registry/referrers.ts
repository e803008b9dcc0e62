/**
 * Lists what refers to a manifest: signatures, SBOMs, the same image in another format.
 *
 * ```
 * GET /v2/<repo>/referrers/<digest>            OCI distribution 1.1
 * GET /v2/<repo>/manifests/sha256-<digits>     older registries: clients maintain the index under a tag
 * ```
 * referrers_tag.ts writes that index. Sources: OCI distribution spec 1.1, "Listing Referrers" and "Referrers Tag
 * Schema".
 *
 * @module
 */
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.ts";
import { MAX_INDEX_BYTES, parseManifestDocument } from "../../oci/manifest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { getManifest } from "./manifest.ts";
import type { Repository } from "./repository.ts";

/**
 * Returns the manifests whose subject is `digest`; empty if the registry knows none.
 *
 * @throws {NydusGdError} "invalid-image" if the response is not an index; and what the transport throws
 */
export async function getReferrers(
  repository: Repository,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const what = `list what refers to ${digest} in ${repository.description}`;
  const path = `/v2/${repository.name}/referrers/${digest}`;
  const listed = await unlessAbsent(repository.request(
    { method: "GET", path, headers: { accept: MEDIA_TYPE.ociIndex }, what },
    { priority: "on-demand", ...(signal === undefined ? {} : { signal }) },
    (response) => response.bytes(MAX_INDEX_BYTES),
    { capability: "resolve" },
  ));
  const document = listed === undefined
    ? (await unlessAbsent(getManifest(repository, referrersTag(digest), signal)))?.document
    : parseManifestDocument(listed, MEDIA_TYPE.ociIndex);
  if (document === undefined) return [];
  if (document.kind === "index") return document.index.manifests;
  throw new NydusGdError("invalid-image", `Cannot ${what}: the response is not an index`);
}

/** Returns the tag of the index that clients maintain. */
export function referrersTag(subject: Digest): string {
  return `${digestAlgorithm(subject).slice(0, 32)}-${digestHex(subject).slice(0, 64)}`;
}

async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (hasCode(error, "not-found")) return undefined;
    throw error;
  }
}

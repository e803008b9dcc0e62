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
import { NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.ts";
import { MAX_INDEX_BYTES, parseManifestDocument } from "../../oci/manifest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { TransferError } from "../http/transfer_error.ts";
import { getManifest } from "./manifest.ts";
import type { Repository } from "./repository.ts";

const log = logger("backend");

/**
 * Returns the manifests whose subject is `digest`; empty if the registry knows none, or does not let this user list
 * them: the image itself may be readable all the same.
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
  const listed = await unlessRefused(
    UNSUPPORTED,
    repository.request(
      { method: "GET", path, headers: { accept: MEDIA_TYPE.ociIndex }, what },
      { priority: "on-demand", ...(signal === undefined ? {} : { signal }) },
      indexBytes,
      { capability: "resolve" },
    ),
  );
  const document = listed === undefined
    ? (await unlessRefused(ABSENT, getManifest(repository, referrersTag(digest), signal)))?.document
    : parseManifestDocument(listed, MEDIA_TYPE.ociIndex);
  if (document === undefined) return [];
  if (document.kind === "index") return document.index.manifests;
  throw new NydusGdError("invalid-image", `Cannot ${what}: the response is not an index`);
}

/** Returns the tag of the index that clients maintain. */
export function referrersTag(subject: Digest): string {
  return `${digestAlgorithm(subject).slice(0, 32)}-${digestHex(subject).slice(0, 64)}`;
}

/** Statuses of a registry that has no such tag, or does not say so to this user. */
const ABSENT: ReadonlySet<number> = new Set([401, 403, 404, 410]);

/** Statuses of registries without the API, or of what allows only the older requests. Others answer with a page. */
const UNSUPPORTED: ReadonlySet<number> = new Set([400, 405, 406, ...ABSENT]);

async function indexBytes(response: HttpResponse): Promise<Uint8Array | undefined> {
  const mediaType = response.header("content-type")?.split(";", 1)[0]?.trim();
  if (mediaType === MEDIA_TYPE.ociIndex) return await response.bytes(MAX_INDEX_BYTES);
  await response.discard();
  return undefined;
}

async function unlessRefused<T>(statuses: ReadonlySet<number>, answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof TransferError) || !statuses.has(error.status ?? 0)) throw error;
    if (error.code === "unauthorized") log.debug("referrers not listed", { error: error.message });
    return undefined;
  }
}

/**
 * Maintains the referrers of a manifest as an index under a tag, for registries that do not do so themselves.
 *
 * Whoever pushes a manifest with a subject adds it there. Concurrent updates may lose an entry: the specification has
 * no lock. Source: OCI distribution spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
 *
 * @module
 */
import { createHash } from "node:crypto";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { parseDigest } from "../../oci/digest.ts";
import { parseManifestDocument } from "../../oci/manifest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { getManifest } from "./manifest.ts";
import { type Document, pushManifest } from "./push.ts";
import { referrersTag } from "./referrers.ts";
import type { Repository } from "./repository.ts";

/** The part of an index that is needed here. All other fields are preserved. */
interface RawIndex {
  readonly manifests: readonly { readonly digest?: unknown }[] | null;
}

const EMPTY: RawIndex & Record<string, unknown> = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] };

/**
 * Adds a pushed manifest to the referrers of its subject. Does nothing if it has no subject or is already listed.
 *
 * @throws {NydusGdError} "invalid-image" if the tag is not an index; and what the transport throws
 */
export async function listReferrer(repository: Repository, document: Document, signal: AbortSignal): Promise<void> {
  const parsed = parseManifestDocument(document.bytes, document.mediaType);
  const { subject, artifactType, annotations } = parsed.kind === "index" ? parsed.index : parsed.manifest;
  if (!subject) return;
  const tag = referrersTag(subject.digest);
  const present = await presentIndex(repository, tag, signal);
  const digest = parseDigest(`sha256:${createHash("sha256").update(document.bytes).digest("hex")}`);
  const listed = present.manifests ?? [];
  if (listed.some((entry) => entry.digest === digest)) return;
  const type = artifactType ?? (parsed.kind === "manifest" ? parsed.manifest.config.mediaType : undefined);
  const entry = {
    ...{ mediaType: document.mediaType, digest, size: document.bytes.length },
    ...(type === undefined ? {} : { artifactType: type }),
    ...(annotations ? { annotations } : {}),
  };
  const text = JSON.stringify({ ...present, manifests: [...listed, entry] });
  await pushManifest(
    repository,
    tag,
    { mediaType: MEDIA_TYPE.ociIndex, bytes: new TextEncoder().encode(text) },
    signal,
  );
}

async function presentIndex(repository: Repository, tag: string, signal: AbortSignal): Promise<RawIndex> {
  try {
    const { bytes, document } = await getManifest(repository, tag, signal);
    if (document.kind === "index") return JSON.parse(new TextDecoder().decode(bytes)) as RawIndex;
  } catch (error) {
    if (hasCode(error, "not-found")) return EMPTY;
    throw error;
  }
  throw new NydusGdError(
    "invalid-image",
    `Cannot list a referrer in ${repository.description}: tag ${tag} is not an index`,
  );
}

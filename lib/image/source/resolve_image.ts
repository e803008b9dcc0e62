/**
 * Resolves a name in a registry for a platform: the manifest to run, and its form.
 *
 * ```
 * name ──► manifest
 *      ──► index ──► entries of the platform ──► the first, if it is bootstrap-only: also Docker's choice
 *                                            ──► one with data blobs and a bootstrap
 *                                            ──► any that is bootstrap-only
 *                                            ──► the first, which is classic
 * classic ──► a nydus image that refers to it, if any
 * ```
 * No data blobs are fetched. Entries with nydus's marks (artifactType, os.features) are examined before others.
 *
 * @module
 */
import { type FetchedManifest, getManifest } from "../../backend/registry/manifest.ts";
import { getReferrers } from "../../backend/registry/referrers.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Index, Manifest } from "../../oci/manifest.ts";
import { isEntryFor, isMarkedNydus } from "../../oci/index_entry.ts";
import { isManifestType, MEDIA_TYPE } from "../../oci/media_types.ts";
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import { formatReference, manifestName, type Reference } from "../../oci/reference.ts";
import { type ImageForm, imageForm } from "./image_form.ts";

/** Maximum entries per index, and referrers per manifest, to examine. */
const MAX_LOOKED_AT = 16;

/** The image to resolve. */
export interface ImageQuestion {
  readonly repository: Repository;
  readonly reference: Reference;
  readonly platform: Platform;
  readonly signal: AbortSignal | undefined;
}

/** A resolved image. */
export interface ResolvedImage {
  readonly digest: Digest;
  readonly manifest: Manifest;
  readonly form: ImageForm;
  /** How the manifest was found. */
  readonly namedBy: "reference" | "index" | "referrer";
  /** Whether Docker would choose the same manifest for this name and platform. */
  readonly isDockersChoice: boolean;
}

interface Found {
  readonly digest: Digest;
  readonly manifest: Manifest;
  readonly form: ImageForm;
}

/**
 * Resolves an image.
 *
 * @throws {NydusGdError} "not-found" for an unknown name or an index without the platform; "invalid-image"; what the
 * registry answers
 */
export async function resolveImage(question: ImageQuestion): Promise<ResolvedImage> {
  const { repository, reference, signal } = question;
  const named = await getManifest(repository, manifestName(reference), signal);
  if (named.document.kind === "manifest") {
    const found = await formOf(named, question);
    return await nydusReferrer(found, question) ?? { ...found, namedBy: "reference", isDockersChoice: true };
  }
  const [first, ...others] = await entriesOf(named.document.index, question);
  const isChoice = (found: Found) => ({ ...found, namedBy: "index" as const, isDockersChoice: found === first });
  if (first.form.kind === "bootstrap-only") return isChoice(first);
  const entries = [first, ...others];
  const lazy = entries.find(({ form }) => form.kind === "standard") ??
    others.find(({ form }) => form.kind === "bootstrap-only");
  return lazy === undefined ? await nydusReferrer(first, question) ?? isChoice(first) : isChoice(lazy);
}

async function formOf({ document, digest }: FetchedManifest, question: ImageQuestion): Promise<Found> {
  const { repository, reference, signal } = question;
  if (document.kind !== "manifest") {
    throw new NydusGdError("invalid-image", `Cannot read image ${formatReference(reference)}: an index lists an index`);
  }
  const { manifest } = document;
  return { digest, manifest, form: await imageForm(manifest, repository, signal) };
}

/** Returns the images of an index for the platform: Docker's choice, then the others, marked ones first. */
async function entriesOf(index: Index, question: ImageQuestion): Promise<[first: Found, ...others: Found[]]> {
  const { repository, reference, platform: wanted, signal } = question;
  const [first, ...others] = index.manifests.filter((entry) => isEntryFor(entry, wanted));
  if (first === undefined) throw noPlatform(index, reference, wanted);
  const look = async ({ digest }: Descriptor) => formOf(await getManifest(repository, digest, signal), question);
  const found = await look(first);
  if (found.form.kind === "bootstrap-only") return [found];
  const inOrder = [...others.filter(isMarkedNydus), ...others.filter((entry) => !isMarkedNydus(entry))];
  return [found, ...await Promise.all(inOrder.slice(0, MAX_LOOKED_AT).map(look))];
}

/** Returns the nydus image that refers to a classic one as its subject. */
async function nydusReferrer(found: Found, question: ImageQuestion): Promise<ResolvedImage | undefined> {
  if (found.form.kind !== "classic") return undefined;
  const { repository, signal } = question;
  const listed = await getReferrers(repository, found.digest, signal);
  for (const { digest } of listed.filter(mayBeImage).slice(0, MAX_LOOKED_AT)) {
    const referrer = await formOf(await getManifest(repository, digest, signal), question);
    if (referrer.form.kind === "standard") return { ...referrer, namedBy: "referrer", isDockersChoice: false };
  }
  return undefined;
}

function mayBeImage({ mediaType, artifactType }: Descriptor): boolean {
  const types: readonly (string | undefined)[] = [
    undefined,
    MEDIA_TYPE.nydusManifest,
    MEDIA_TYPE.nydusConfig,
    MEDIA_TYPE.ociConfig,
    MEDIA_TYPE.dockerConfig,
  ];
  return isManifestType(mediaType) && types.includes(artifactType);
}

function noPlatform({ manifests }: Index, reference: Reference, wanted: Platform): NydusGdError {
  const offered = [
    ...new Set(
      manifests.flatMap(({ platform }) => platform?.os && platform.os !== "unknown" ? [platform] : [])
        .map((platform) => formatPlatform({ ...platform, "os.features": undefined })),
    ),
  ];
  const state = offered.length === 0 ? "" : `, there is ${offered.join(", ")}`;
  return new NydusGdError(
    "not-found",
    `Cannot read image ${formatReference(reference)}: nothing for ${formatPlatform(wanted)}${state}`,
    offered[0] === undefined ? {} : { hint: `--platform ${offered[0]}` },
  );
}

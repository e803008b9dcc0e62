/**
 * Properties of an index entry. Source: OCI image spec 1.1, image-index.md; conventions of nydusify and BuildKit.
 *
 * @module
 */
import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { MEDIA_TYPE, NYDUS_OS_FEATURE } from "./media_types.ts";
import { matchesPlatform, type Platform } from "./platform.ts";

/** Whether an entry is for the platform. An entry without a platform matches any. Required features are not checked. */
export function isEntryFor({ platform }: Pick<Descriptor, "platform">, wanted: Platform): boolean {
  return !platform || matchesPlatform(wanted, platform);
}

/** Annotations by which BuildKit marks attestations. Source: buildkit, docs/attestations/attestation-storage.md. */
const ABOUT = { kind: "vnd.docker.reference.type", digest: "vnd.docker.reference.digest" } as const;

/** Whether an entry is not an image but BuildKit's attestation (provenance, SBOM) for the image with that digest. */
export function isAttestationOf({ annotations }: Pick<Descriptor, "annotations">, digest: Digest): boolean {
  return annotations?.[ABOUT.kind] === "attestation-manifest" && annotations[ABOUT.digest] === digest;
}

/** Whether an entry is marked as a nydus image. */
export function isMarkedNydus({ artifactType, platform }: Pick<Descriptor, "artifactType" | "platform">): boolean {
  return artifactType === MEDIA_TYPE.nydusManifest || (platform?.["os.features"] ?? []).includes(NYDUS_OS_FEATURE);
}

/** The platform as written in an index. */
export function writtenPlatform(
  { os, architecture, variant, "os.version": version, "os.features": features }: Platform,
): object {
  return {
    ...{ architecture, os },
    ...(variant === undefined ? {} : { variant }),
    ...(version === undefined ? {} : { "os.version": version }),
    ...(features === undefined ? {} : { "os.features": features }),
  };
}

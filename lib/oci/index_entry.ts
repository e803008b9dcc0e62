/**
 * What an entry of an index says of its image. Source: OCI image spec 1.1, image-index.md; nydusify's and BuildKit's marks.
 *
 * @module
 */
import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { MEDIA_TYPE, NYDUS_OS_FEATURE } from "./media_types.ts";
import { matchesPlatform, type Platform } from "./platform.ts";

/** Whether it is for that platform; one that names none is for any. What features it asks for is not looked at. */
export function isEntryFor({ platform }: Pick<Descriptor, "platform">, wanted: Platform): boolean {
  return !platform || matchesPlatform(wanted, platform);
}

/** Annotations with which BuildKit says what an entry is about. Source: buildkit, docs/attestations/attestation-storage.md. */
const ABOUT = { kind: "vnd.docker.reference.type", digest: "vnd.docker.reference.digest" } as const;

/** Whether it is no image, but what BuildKit attests of the one with that digest: how it was built, what is in it. */
export function isAttestationOf({ annotations }: Pick<Descriptor, "annotations">, digest: Digest): boolean {
  return annotations?.[ABOUT.kind] === "attestation-manifest" && annotations[ABOUT.digest] === digest;
}

/** Whether it says that it is a nydus image. */
export function isMarkedNydus({ artifactType, platform }: Pick<Descriptor, "artifactType" | "platform">): boolean {
  return artifactType === MEDIA_TYPE.nydusManifest || (platform?.["os.features"] ?? []).includes(NYDUS_OS_FEATURE);
}

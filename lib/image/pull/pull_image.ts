/**
 * Pulls an image so that it starts lazily: what Docker needs of it now, and nothing of its data.
 *
 * ```
 * name ──► resolve_image ──► standard ───────► bootstrap, blobs looked for ──► record ──► docker load, one layer
 *                       ├──► bootstrap-only ─► bootstrap, blobs looked for ──► record ──► docker pull
 *                       └──► classic ────────► docker pull
 * ```
 *
 * @module
 */
import type { RegistryBackend } from "../../backend/registry/registry_backend.ts";
import type { Digest } from "../../oci/digest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { hostPlatform, type Platform } from "../../oci/platform.ts";
import { familiarReference, manifestName, type Reference } from "../../oci/reference.ts";
import type { ImageMemory } from "../../rafs/image_memory.ts";
import type { DockerEngine } from "../docker/engine.ts";
import type { PullStep } from "../docker/progress_stream.ts";
import type { ImageForm } from "../source/image_form.ts";
import type { PulledImage } from "../lazy/pulled_images.ts";
import { type ResolvedImage, resolveImage } from "../source/resolve_image.ts";
import type { BlobHomes } from "./blobs_left.ts";
import { arrived, dockerPull } from "./docker_side.ts";
import { cannotPull, explained } from "./pull_failure.ts";
import { pullLazy } from "./pull_lazy.ts";
import type { SeenLogins } from "./seen_logins.ts";

/** The daemon that will serve the image, as `pull` asks it. */
export interface LazyDaemon {
  /** Keeps where the blobs of the image are whose bootstrap layer has this diffID. */
  record(diffId: Digest, image: PulledImage, signal: AbortSignal): Promise<void>;
  /** The image did not come. One that Docker has all the same keeps its record. */
  drop(diffId: Digest): Promise<void>;
  /** Begins to fetch all of it. */
  prefetch(diffId: Digest, signal: AbortSignal): Promise<void>;
}

/** What a pull works with. */
export interface PullParts extends BlobHomes {
  readonly registry: RegistryBackend;
  /** The keychain of `registry`. */
  readonly logins: SeenLogins;
  readonly docker: DockerEngine;
  readonly daemon: LazyDaemon;
  /** For the bootstrap. */
  readonly memory: ImageMemory;
  /** Told what happens. */
  readonly onEvent: (event: PullEvent) => void;
}

/** What is to be pulled. */
export interface PullRequest {
  readonly reference: Reference;
  /** Absent: this machine's. */
  readonly platform: Platform | undefined;
  /** Fetch the rest as well, in the background. */
  readonly prefetch: boolean;
}

/** What happens on the way. Sizes in bytes. */
export type PullEvent =
  | { readonly event: "resolved"; readonly form: ImageForm["kind"]; readonly digest: Digest }
  /** How much of the bootstrap layer is here. */
  | { readonly event: "bootstrap"; readonly digest: Digest; readonly bytes: number; readonly total: number }
  /** Docker gets the image that was made. */
  | { readonly event: "load"; readonly name: string; readonly bytes: number }
  /** Docker pulls. */
  | ({ readonly event: "docker" } & PullStep);

/** What came. Sizes in bytes. */
export interface PullResult {
  /** What `docker run` takes. */
  readonly name: string;
  readonly form: ImageForm["kind"];
  readonly platform: Platform;
  /** Of the manifest in the registry. */
  readonly digest: Digest;
  readonly imageId: string;
  /** The image that had the name before, where it was another one. */
  readonly replaced: string | undefined;
  /** Of a lazy image only. */
  readonly lazy: LazyPart | undefined;
}

/** What is known of a lazy image that came. */
export interface LazyPart {
  /** Bytes of the bootstrap layer as it was fetched. */
  readonly bootstrapBytes: number;
  /** Who has the data. */
  readonly home: string;
  /** What was left for later: bytes of each blob at its home, by id. */
  readonly blobs: ReadonlyMap<string, number>;
  readonly prefetching: boolean;
}

/** One pull, once its image is known. */
export interface Pull {
  readonly request: PullRequest;
  readonly platform: Platform;
  readonly image: ResolvedImage;
  readonly parts: PullParts;
  readonly signal: AbortSignal;
}

/**
 * Pulls.
 *
 * @throws {NydusGdError} "not-found", "unauthorized", "unsupported", "invalid-image", "environment" in words about the
 * name; "unavailable" for what does not answer
 */
export async function pullImage(request: PullRequest, parts: PullParts, signal: AbortSignal): Promise<PullResult> {
  const { reference, platform = hostPlatform() } = request;
  const info = await parts.docker.info(signal);
  const repository = parts.registry.transport;
  const image = await explained(
    reference,
    repository,
    () => resolveImage({ repository, reference, platform, signal }),
  );
  const { form, digest } = image;
  parts.onEvent({ event: "resolved", form: form.kind, digest });
  const pull: Pull = { request, platform, image, parts, signal };
  if (form.kind !== "classic") return await pullLazy(pull, form, info);
  const { mediaType } = image.manifest.config;
  if (mediaType !== MEDIA_TYPE.ociConfig && mediaType !== MEDIA_TYPE.dockerConfig) {
    throw cannotPull("unsupported", reference, `it is no image, its configuration is ${mediaType.slice(0, 100)}`);
  }
  const name = familiarReference(reference);
  const before = await parts.docker.image(name, signal);
  await dockerPull(pull, manifestName(reference), request.platform);
  return await arrived(pull, name, before?.id, undefined);
}

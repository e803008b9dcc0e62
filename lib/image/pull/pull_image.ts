/**
 * Pulls an image for lazy start: fetches what Docker needs of it now, and none of its data.
 *
 * ```
 * name ──► resolve_image ──► standard ───────► bootstrap, blobs looked for ──► record ──► docker load, one layer
 *                       ├──► bootstrap-only ─► bootstrap, blobs looked for ──► record ──► docker pull
 *                       └──► classic ────────► docker pull
 * ```
 * Where Docker's images are in containerd with our snapshotter, that leaves the data of any form, so Docker pulls it.
 *
 * @module
 */
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { familiarReference, manifestName } from "../../oci/reference.ts";
import type { DockerInfo } from "../docker/engine_responses.ts";
import { resolveImage } from "../source/resolve_image.ts";
import { arrived, dockerPull } from "./docker_side.ts";
import type { Pull, PullParts, PullRequest, PullResult } from "./pull.ts";
import { cannotPull, explained } from "./pull_failure.ts";
import { pullLazy } from "./pull_lazy.ts";

/**
 * Pulls an image.
 *
 * @throws {NydusGdError} "not-found", "unauthorized", "unsupported", "invalid-image", "environment" in terms of the
 * name; "unavailable" if a peer does not answer
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
  if (form.kind !== "classic") {
    if (!info.usesContainerdStore || info.driver !== parts.snapshotter) return await pullLazy(pull, form, info);
    refusePrefetch(request, info);
  }
  const { mediaType } = image.manifest.config;
  if (mediaType !== MEDIA_TYPE.ociConfig && mediaType !== MEDIA_TYPE.dockerConfig) {
    throw cannotPull("unsupported", reference, `it is not an image, its configuration is ${mediaType.slice(0, 100)}`);
  }
  const name = familiarReference(reference);
  const before = await parts.docker.image(name, signal);
  await dockerPull(pull, manifestName(reference), request.platform);
  return await arrived(pull, name, before?.id, undefined);
}

/** The daemon knows a snapshot by containerd's name for it, not by its diffID. */
function refusePrefetch({ reference, prefetch }: PullRequest, { version }: DockerInfo): void {
  if (!prefetch) return;
  const state = `Docker ${version} keeps its images in containerd, for which there is no --prefetch`;
  throw cannotPull("unsupported", reference, state, {
    hint: "leave it out: what is missing is fetched while nothing else is read",
  });
}

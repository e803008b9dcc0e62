/**
 * Pulls a lazy image into Docker: its bootstrap now, its data when first read.
 *
 * The record that tells the daemon where the blobs are is durable before Docker has the image, because no container
 * starts without it. If the image does not arrive, the record is dropped. When it has arrived, the record is made again:
 * another pull of the image that failed meanwhile, or Docker's removal of what an earlier one left, may have dropped it.
 *
 * @module
 */
import { getSmallBlob } from "../../backend/registry/manifest.ts";
import { lengthOf } from "../../base/bytes.ts";
import { logger } from "../../base/log.ts";
import { messageOf } from "../../base/errors.ts";
import { LAYERS_MOUNTED } from "../../layer/layer_store.ts";
import type { Digest } from "../../oci/digest.ts";
import { type ImageConfig, MAX_IMAGE_CONFIG_BYTES, parseImageConfig } from "../../oci/manifest.ts";
import { formatPlatform, matchesPlatform } from "../../oci/platform.ts";
import { familiarReference, formatReference, type Reference } from "../../oci/reference.ts";
import { requiredBlobIds } from "../../rafs/format/flags.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import { openBootstrap } from "../../rafs/open.ts";
import type { BootstrapLayer } from "../source/bootstrap_layer_reader.ts";
import type { DockerInfo } from "../docker/engine_responses.ts";
import type { LazyForm } from "../source/image_form.ts";
import { fetchBootstrapLayer } from "../source/remote_bootstrap.ts";
import { type BlobsLeft, findBlobs } from "./blobs_left.ts";
import { bootstrapOnlyImage } from "./bootstrap_only.ts";
import { arrived, dockerPull } from "./docker_side.ts";
import { cannotPull, explained } from "./pull_failure.ts";
import type { Pull, PullResult } from "./pull.ts";

const log = logger("image", "pull");

/** The fetched parts of the image. */
interface Fetched {
  readonly layer: BootstrapLayer;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly left: BlobsLeft;
  /** Holds the layer. */
  readonly memory: ImageMemory;
}

/** How Docker gets the image. */
interface Way {
  /** Docker's name for it. */
  readonly name: string;
  /** diffID of the bootstrap layer. */
  readonly diffId: Digest;
  bring(): Promise<void>;
}

/** Pulls an image of this form. @throws as `pullImage` */
export async function pullLazy(pull: Pull, form: LazyForm, info: DockerInfo): Promise<PullResult> {
  const { request, parts, signal } = pull;
  requireOurDriver(info, request.reference);
  const fetched = await explained(request.reference, parts.registry.transport, () => fetchMetadata(pull, form));
  const { left } = fetched;
  const way = form.kind === "standard" ? loaded(pull, fetched) : pulled(pull, fetched);
  const before = await parts.docker.image(way.name, signal);
  try {
    await record(pull, way, left);
    await way.bring();
    await record(pull, way, left);
  } catch (error) {
    await parts.daemon.drop(way.diffId).catch((cause) =>
      log.warn("record not rolled back", { reason: messageOf(cause) })
    );
    throw error;
  }
  if (request.prefetch) await parts.daemon.prefetch(way.diffId, signal);
  const { home, sizes: blobs } = left;
  const lazy = { bootstrapBytes: form.bootstrap.size, home, blobs, prefetching: request.prefetch };
  return await arrived(pull, way.name, before?.id, lazy);
}

async function fetchMetadata(
  { request, platform, image, parts, signal }: Pull,
  { bootstrap }: LazyForm,
): Promise<Fetched> {
  const { reference } = request;
  const { manifest, namedBy } = image;
  const { transport } = parts.registry;
  const configBytes = await getSmallBlob(transport, manifest.config, { maxBytes: MAX_IMAGE_CONFIG_BYTES, signal });
  const config = parseImageConfig(configBytes);
  const { os, architecture, variant } = config;
  const offered = { os, architecture, variant };
  if (namedBy === "reference" && architecture !== "" && !matchesPlatform(platform, offered)) {
    const state = `it is for ${formatPlatform(offered)}, not ${formatPlatform(platform)}`;
    throw cannotPull("not-found", reference, state, { hint: `--platform ${formatPlatform(offered)}` });
  }
  const { digest, size: total } = bootstrap;
  const onProgress = (bytes: number) => parts.onEvent({ event: "bootstrap", digest, bytes, total });
  const memory = await parts.openMemory();
  const layer = await fetchBootstrapLayer(bootstrap, transport, { signal, onProgress, memory });
  if (layer === undefined) {
    throw cannotPull("invalid-image", reference, `it is marked as a nydus image, but layer ${digest} has no bootstrap`);
  }
  const ids = openBootstrap(layer.bootstrap).blobs.flatMap(requiredBlobIds);
  return { layer, configBytes, config, left: await findBlobs(ids, parts, reference, signal), memory };
}

/** A standard image: Docker cannot unpack a data blob, so it loads an image built from the bootstrap alone. */
function loaded({ request, parts, signal }: Pull, { layer, configBytes, left, memory }: Fetched): Way {
  const { host: registry, repository } = request.reference;
  const name = loadedName(request.reference);
  const origin = left.isRegistry ? { registry, repository, blobSizes: left.sizes } : undefined;
  const { archive, diffId } = bootstrapOnlyImage({ layer, origin, config: configBytes, name, memory });
  return {
    name,
    diffId,
    async bring() {
      parts.onEvent({ event: "load", name, bytes: lengthOf(archive) });
      await parts.docker.load(archive, memory, signal);
    },
  };
}

/** A bootstrap-only image: Docker pulls it itself, by digest if the name would select another image. */
function pulled(pull: Pull, { config }: Fetched): Way {
  const { request: { reference, platform }, image, parts, signal } = pull;
  const { host, repository, tag, digest } = reference;
  const [diffId] = config.rootfs.diff_ids;
  if (diffId === undefined) throw cannotPull("invalid-image", reference, "its configuration names no layer");
  return {
    name: familiarReference(reference),
    diffId,
    async bring() {
      if (image.isDockersChoice) return await dockerPull(pull, digest ?? tag ?? image.digest, platform);
      await dockerPull(pull, image.digest, undefined);
      if (tag === undefined) return;
      const bare = familiarReference({ host, repository, tag: undefined, digest: undefined });
      await parts.docker.tag(`${bare}@${image.digest}`, bare, tag, signal);
    },
  };
}

/** Blobs in a configured backend need no record, but a login may. */
async function record({ request, parts }: Pull, { diffId }: Way, left: BlobsLeft): Promise<void> {
  const { host: registry, repository } = request.reference;
  if (!left.isRegistry) return;
  const image = {
    version: 1 as const,
    reference: formatReference(request.reference),
    registry,
    repository,
    pulledAt: new Date().toISOString(),
    logins: parts.logins.list(),
  };
  await parts.daemon.record(diffId, image);
}

/** `docker load` only sets tags: an image named by digest gets a tag derived from the digest. */
function loadedName({ host, repository, tag, digest }: Reference): string {
  const own = tag ?? digest?.replace(":", "-");
  return familiarReference({ host, repository, tag: own, digest: undefined });
}

function requireOurDriver({ driver, driverStatus, version }: DockerInfo, reference: Reference): void {
  if (driverStatus.some(([name]) => name === LAYERS_MOUNTED)) return;
  const state = `it is a nydus image, and Docker ${version} uses the storage driver ${driver}`;
  throw cannotPull("environment", reference, state, { hint: "nydus-gd setup" });
}

/**
 * Lists the backends that may have the blobs of a bootstrap layer, in order of preference.
 *
 * | backend | trusted because |
 * |---|---|
 * | the configured backend, unless a registry | the operator configured it |
 * | the repository that `nydus-gd pull` pulled the layer from | a user asked for it |
 * | the registry named in the layer's own file | only as far as {@link CandidateSources.trustedOrigins} or daemon.json allow |
 * | the repositories that Docker recorded on pull or push of the layer | a user asked Docker for them |
 * | the one of these that was chosen before, if Docker has it no more | a user asked Docker for it |
 * | the repository of the reference that containerd passed on with the layer | as the registry in the layer's own file |
 * | the configured registry | the operator configured it |
 *
 * Each is listed once. A repository on the configured registry's host is accessed with the configured credentials and
 * certificates. What only the image names is confined (../backend/http/confinement.ts). Keychains are queried by host,
 * so no credential goes to a host that it was not configured for.
 *
 * containerd makes labels of a snapshot of a layer's annotations, which the image's author writes. Docker and Kubernetes
 * overwrite the one with the reference, other clients do not; the label does not tell which it was.
 *
 * @module
 */
import { dirname } from "node:path";
import type { BackendConfig } from "../../../backend/backend_config.ts";
import { layerSources } from "../../../backend/docker_metadata.ts";
import type { NydusdConfig } from "../../../backend/nydusd_config.ts";
import { type BackendDeps, openBackend, openConfiguredRegistry, openRegistry } from "../../../backend/open_backend.ts";
import type { RegistryBackend } from "../../../backend/registry/registry_backend.ts";
import { Deadline, delay } from "../../../base/abort.ts";
import { hasCode, NydusGdError } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import { parseDigest } from "../../../oci/digest.ts";
import { parseReference } from "../../../oci/reference.ts";
import { type BlobOrigin, ORIGIN_FILE, readBlobOrigin } from "../../build/blob_origin.ts";
import type { BackendCandidate, PulledFrom } from "./choose_backend.ts";
import { dockerImageDir } from "../../docker/files.ts";
import type { PulledImages } from "../records/pulled_images.ts";

const log = logger("image");

/** Dependencies of {@link backendCandidates}. */
export interface CandidateSources {
  readonly config: NydusdConfig | undefined;
  /** Hosts that images may name without confinement, as HOST or HOST:PORT. */
  readonly trustedOrigins: readonly string[];
  readonly deps: BackendDeps;
  /** Records of `nydus-gd pull`. Default: none. */
  readonly pulled?: PulledImages;
}

/** A repository of a registry. */
interface Place {
  readonly host: string;
  readonly repository: string;
  /** Whether only the layer names it: see lib/backend/http/confinement.ts. */
  readonly confined?: boolean;
}

/** How long Docker may take to record where it pulled a layer from; layers that it did not pull are never recorded. */
const RECORD_TIMEOUT_MS = 2000;
const RECORD_POLL_MS = 25;

/**
 * Resolves when it is recorded where a new layer was pulled from, or after 2 s. Docker does that when it has applied the
 * layer.
 */
export async function whenPlaced(layer: LazyLayer, pulled: PulledImages, signal: AbortSignal): Promise<void> {
  const late = () => new NydusGdError("busy", "Cannot wait any longer for Docker's record");
  using deadline = new Deadline(RECORD_TIMEOUT_MS, signal, late);
  while (!deadline.signal.aborted && pulled.of(layer.diffId) === undefined && layer.reference === undefined) {
    if ((await recordedPlaces(layer)).length > 0) return;
    await delay(RECORD_POLL_MS);
  }
}

/**
 * Returns the backends that may have the layer's blobs.
 *
 * @param chosen the repository that was chosen before, if a user named it
 */
export async function backendCandidates(
  layer: LazyLayer,
  sources: CandidateSources,
  chosen?: PulledFrom,
): Promise<BackendCandidate[]> {
  const { config, deps } = sources;
  const backend = config?.backend;
  const pulled = pulledPlaces(layer, sources);
  const recorded = [...await recordedPlaces(layer), ...(chosen === undefined ? [] : [chosen])];
  const asked = new Set([...pulled, ...recorded].map(({ host }) => host));
  const isTrusted = (host: string) =>
    asked.has(host) || sources.trustedOrigins.includes(host) || (deps.insecure?.names(host) ?? false);
  const candidates = [
    ...(backend === undefined || backend.type === "registry" ? [] : [configuredCandidate(backend, deps)]),
    ...pulled.map((place) => pulledCandidate(place, sources)),
    ...originCandidates(layer, isTrusted, sources),
    ...recorded.map((place) => pulledCandidate(place, sources)),
    ...claimedPlaces(layer, isTrusted).map((place) => registryCandidate(place, sources)),
    ...(backend?.type === "registry"
      ? [registryCandidate({ host: backend.host, repository: backend.repo }, sources)]
      : []),
  ];
  const described = new Set<string>();
  return candidates.filter(({ description }) => !described.has(description) && described.add(description));
}

function configuredCandidate(backend: BackendConfig, deps: BackendDeps): BackendCandidate {
  return { description: `${backend.type} of the configuration`, open: () => openBackend(backend, deps) };
}

function pulledCandidate(pulledFrom: PulledFrom, sources: CandidateSources): BackendCandidate {
  return { ...registryCandidate(pulledFrom, sources), pulledFrom };
}

function registryCandidate(place: Place, { config, deps }: CandidateSources): BackendCandidate {
  return {
    description: `registry ${place.host}/${place.repository}`,
    open: () => registryAt(place, config, deps),
  };
}

/** Opens a repository. On the configured registry's host, its configuration applies. */
export function registryAt(
  { host, repository, confined = false }: Place,
  config: NydusdConfig | undefined,
  deps: BackendDeps,
): RegistryBackend {
  const backend = config?.backend;
  return backend?.type === "registry" && backend.host === host
    ? openConfiguredRegistry({ ...backend, repo: repository }, deps)
    : openRegistry({ host, repo: repository, confined }, deps);
}

/**
 * Returns the backend named in the layer's own file: none without a file, one that fails if the file cannot be read.
 *
 * @param isTrusted whether a host may be asked without confinement
 */
function originCandidates(
  layer: LazyLayer,
  isTrusted: (host: string) => boolean,
  sources: CandidateSources,
): BackendCandidate[] {
  let origin: BlobOrigin | undefined;
  try {
    origin = readBlobOrigin(dirname(layer.bootstrapPath));
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    log.warn(error.message, { layer: layer.id });
    return [{
      description: `image/${ORIGIN_FILE} of the layer`,
      open() {
        throw error;
      },
    }];
  }
  if (origin === undefined) return [];
  const { registry: host, repository, blobSizes } = origin;
  return [{ ...registryCandidate({ host, repository, confined: !isTrusted(host) }, sources), blobSizes }];
}

/** Returns the repository of the reference that came with the layer, if there is one. */
function claimedPlaces({ id, reference }: LazyLayer, isTrusted: (host: string) => boolean): Place[] {
  if (reference === undefined) return [];
  try {
    const { host, repository } = parseReference(reference);
    return [{ host, repository, confined: !isTrusted(host) }];
  } catch (error) {
    if (!hasCode(error, "usage")) throw error;
    log.warn(error.message, { layer: id });
    return [];
  }
}

function pulledPlaces({ diffId }: LazyLayer, { pulled }: CandidateSources): PulledFrom[] {
  const image = pulled?.of(diffId);
  return image === undefined ? [] : [{ host: image.registry, repository: image.repository }];
}

/** Returns each repository once, newest first. Docker has one record per blob that it pulled from there. */
async function recordedPlaces(layer: LazyLayer): Promise<PulledFrom[]> {
  if (layer.diffId === undefined) return [];
  const places = new Map<string, PulledFrom>();
  try {
    for (const { host, repository } of await layerSources(dockerImageDir(layer.home), parseDigest(layer.diffId))) {
      places.set(`${host}/${repository}`, { host, repository });
    }
  } catch (error) {
    // Docker's record is only one of several sources; the configured backend may suffice
    if (!hasCode(error, "io")) throw error;
    log.warn(error.message, { layer: layer.id });
  }
  return [...places.values()];
}

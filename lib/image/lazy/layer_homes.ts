/**
 * The homes that may have the blobs of a bootstrap layer, in order of preference.
 *
 * | home | believed |
 * |---|---|
 * | a configured backend that is no registry | the operator said so |
 * | the repository that `nydus-gd pull` pulled the layer from | somebody asked for it |
 * | the registry that the layer's own file names | as far as {@link HomeSources.trustedOrigins} says |
 * | the repositories that Docker recorded when it pulled or pushed the layer | somebody asked Docker for them |
 * | the configured registry | the operator said so |
 *
 * Each is listed once. A repository on the configured registry's host is asked as the configuration says: its login, its
 * certificates. What only the image names is confined (../backend/http/confinement.ts), and no credential goes to a
 * host that it was not configured for: keychains are asked by host.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import type { BackendConfig } from "../../backend/backend_config.ts";
import { layerSources } from "../../backend/docker_metadata.ts";
import type { NydusdConfig } from "../../backend/nydusd_config.ts";
import { type BackendDeps, openBackend, openConfiguredRegistry, openRegistry } from "../../backend/open_backend.ts";
import type { RegistryBackend } from "../../backend/registry/registry_backend.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import { parseDigest } from "../../oci/digest.ts";
import type { Candidate } from "../blob_home.ts";
import { type BlobOrigin, ORIGIN_FILE, readBlobOrigin } from "../blob_origin.ts";
import type { PulledImages } from "./pulled_images.ts";

const log = logger("image");

/** What homes are made from. */
export interface HomeSources {
  readonly config: NydusdConfig | undefined;
  /** Hosts that an image may name whatever they are, as HOST or HOST:PORT. */
  readonly trustedOrigins: readonly string[];
  readonly deps: BackendDeps;
  /** What `nydus-gd pull` handed over; absent: nothing. */
  readonly pulled?: PulledImages;
}

/** One repository of a registry. */
export interface Place {
  readonly host: string;
  readonly repository: string;
  /** Nobody but the layer names it: see http/confinement.ts. */
  readonly confined?: boolean;
}

/** The homes that may have the layer's blobs, see the module. */
export async function homesOf(layer: LazyLayer, sources: HomeSources): Promise<Candidate[]> {
  const { config, deps } = sources;
  const backend = config?.backend;
  const pulled = pulledPlaces(layer, sources);
  const recorded = await recordedPlaces(layer);
  const candidates = [
    ...(backend === undefined || backend.type === "registry" ? [] : [configuredHome(backend, deps)]),
    ...pulled.map((place) => registryHome(place, sources)),
    ...originHome(layer, [...pulled, ...recorded], sources),
    ...recorded.map((place) => registryHome(place, sources)),
    ...(backend?.type === "registry" ? [registryHome({ host: backend.host, repository: backend.repo }, sources)] : []),
  ];
  const described = new Set<string>();
  return candidates.filter(({ description }) => !described.has(description) && described.add(description));
}

function configuredHome(backend: BackendConfig, deps: BackendDeps): Candidate {
  return { description: `${backend.type} of the configuration`, open: () => openBackend(backend, deps) };
}

function registryHome(place: Place, { config, deps }: HomeSources): Candidate {
  return {
    description: `registry ${place.host}/${place.repository}`,
    open: () => registryAt(place, config, deps),
  };
}

/** A repository; on the configured registry's host with all that the configuration says of that. */
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
 * The home that the layer's own file names; none where there is no file, one that fails where it cannot be read.
 *
 * @param asked what somebody has asked for
 */
function originHome(layer: LazyLayer, asked: readonly Place[], sources: HomeSources): Candidate[] {
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
  const isTrusted = sources.trustedOrigins.includes(host) || asked.some((place) => place.host === host);
  return [{ ...registryHome({ host, repository, confined: !isTrusted }, sources), blobSizes }];
}

function pulledPlaces({ diffId }: LazyLayer, { pulled }: HomeSources): Place[] {
  const image = pulled?.of(diffId);
  return image === undefined ? [] : [{ host: image.registry, repository: image.repository }];
}

/** Each repository once, the newest first: Docker has a record for every blob that it got from there. */
async function recordedPlaces(layer: LazyLayer): Promise<Place[]> {
  if (layer.diffId === undefined) return [];
  const places = new Map<string, Place>();
  try {
    for (const { host, repository } of await layerSources(dockerImageDir(layer.home), parseDigest(layer.diffId))) {
      places.set(`${host}/${repository}`, { host, repository });
    }
  } catch (error) {
    // the record is Docker's, and only one of several places to look: the configured home may do
    if (!hasCode(error, "io")) throw error;
    log.warn(error.message, { layer: layer.id });
  }
  return [...places.values()];
}

/** `<data-root>/image/<driver>` for the home `<data-root>/<driver>`. */
function dockerImageDir(home: string): string {
  return join(dirname(home), "image", basename(home));
}

/**
 * The homes that may have the blobs of a bootstrap layer, in order of preference.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import type { BackendConfig, RegistryConfig } from "../backend/backend_config.ts";
import { layerSources } from "../backend/docker_metadata.ts";
import type { NydusdConfig } from "../backend/nydusd_config.ts";
import { type BackendDeps, openBackend, openRegistry } from "../backend/open_backend.ts";
import { hasCode } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { LazyLayer } from "../layer/lazy_images.ts";
import { parseDigest } from "../oci/digest.ts";
import type { Candidate } from "./blob_home.ts";

const log = logger("image");

/**
 * A configured backend that is no registry; the repositories that Docker pulled the layer from; the configured registry.
 * A repository on the configured registry's host is asked as the configuration says: its login, its certificates.
 */
export async function homesOf(
  layer: LazyLayer,
  config: NydusdConfig | undefined,
  deps: BackendDeps,
): Promise<Candidate[]> {
  const backend = config?.backend;
  const recorded = await recordedRepositories(layer);
  if (backend?.type !== "registry") {
    const homes = recorded.map(({ host, repository }) => recordedHome(host, repository, deps));
    return backend === undefined ? homes : [configuredHome(backend, deps), ...homes];
  }
  const homes = recorded.map(({ host, repository }) =>
    host === backend.host ? registryHome({ ...backend, repo: repository }, deps) : recordedHome(host, repository, deps)
  );
  const configured = registryHome(backend, deps);
  return homes.some(({ description }) => description === configured.description) ? homes : [...homes, configured];
}

function configuredHome(backend: BackendConfig, deps: BackendDeps): Candidate {
  return { description: `${backend.type} of the configuration`, open: () => openBackend(backend, deps) };
}

function registryHome(backend: RegistryConfig, deps: BackendDeps): Candidate {
  return { description: `registry ${backend.host}/${backend.repo}`, open: () => openBackend(backend, deps) };
}

function recordedHome(host: string, repository: string, deps: BackendDeps): Candidate {
  return {
    description: `registry ${host}/${repository}`,
    open: () => openRegistry({ host, repo: repository }, deps),
  };
}

/** Each repository once, the newest first: Docker has a record for every blob that it got from there. */
async function recordedRepositories(layer: LazyLayer): Promise<{ host: string; repository: string }[]> {
  if (layer.diffId === undefined) return [];
  const repositories = new Map<string, { host: string; repository: string }>();
  try {
    for (const { host, repository } of await layerSources(dockerImageDir(layer.home), parseDigest(layer.diffId))) {
      repositories.set(`${host}/${repository}`, { host, repository });
    }
  } catch (error) {
    // the record is Docker's, and only one of several places to look: the configured home may do
    if (!hasCode(error, "io")) throw error;
    log.warn(error.message, { layer: layer.id });
  }
  return [...repositories.values()];
}

/** `<data-root>/image/<driver>` for the home `<data-root>/<driver>`. */
function dockerImageDir(home: string): string {
  return join(dirname(home), "image", basename(home));
}

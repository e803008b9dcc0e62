/**
 * The homes that may have the blobs of a bootstrap layer, in order of preference.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { layerSources } from "../backend/docker_metadata.ts";
import type { NydusdConfig } from "../backend/nydusd_config.ts";
import { type BackendDeps, openBackend, openRegistry } from "../backend/open_backend.ts";
import type { LazyLayer } from "../layer/lazy_images.ts";
import { parseDigest } from "../oci/digest.ts";
import type { Candidate } from "./blob_home.ts";

/**
 * A configured backend that is no registry; the repositories that Docker pulled the layer from; the configured registry.
 *
 * @throws {NydusGdError} "io" when Docker's own record cannot be read
 */
export async function homesOf(
  layer: LazyLayer,
  config: NydusdConfig | undefined,
  deps: BackendDeps,
): Promise<Candidate[]> {
  const configured = config === undefined ? [] : [configuredHome(config, deps)];
  const recorded = (await recordedHomes(layer)).map(({ host, repository }): Candidate => ({
    description: `registry ${host}/${repository}`,
    open: () => openRegistry({ host, repo: repository }, deps),
  }));
  return config?.backend.type === "registry" ? [...recorded, ...configured] : [...configured, ...recorded];
}

function configuredHome(config: NydusdConfig, deps: BackendDeps): Candidate {
  const { backend } = config;
  const where = backend.type === "registry" ? `${backend.host}/${backend.repo}` : "of the configuration";
  return { description: `${backend.type} ${where}`, open: () => openBackend(backend, deps) };
}

/** Each repository once: Docker has a record for every blob that it got from there. */
async function recordedHomes(layer: LazyLayer): Promise<{ host: string; repository: string }[]> {
  if (layer.diffId === undefined) return [];
  const homes = new Map<string, { host: string; repository: string }>();
  for (const { host, repository } of await layerSources(dockerImageDir(layer.home), parseDigest(layer.diffId))) {
    homes.set(`${host}/${repository}`, { host, repository });
  }
  return [...homes.values()];
}

/** `<data-root>/image/<driver>` for the home `<data-root>/<driver>`. */
function dockerImageDir(home: string): string {
  return join(dirname(home), "image", basename(home));
}

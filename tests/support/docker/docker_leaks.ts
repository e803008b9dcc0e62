/**
 * Detects layers that dockerd and the driver have left behind although nothing refers to them.
 *
 * ```
 * <data-root>/image/<driver>/layerdb/sha256/<chain>/cache-id          layer of an image
 *                            layerdb/mounts/<id>/{mount-id,init-id}   layers of a container
 * ```
 * Layers of BuildKit's cache are listed in its own database; they are recognised by their ids.
 *
 * @module
 */
import { DRIVER_NAME } from "../../../lib/demo/graph_driver.ts";
import { ignore } from "../../../lib/base/errors.ts";
import type { DockerStack } from "./docker_stack.ts";
import { untilEqual } from "../until.ts";

/** Interval between looks: dockerd cleans up after it has answered. */
const POLL_MS = 50;
/** Format of BuildKit's ids. */
const BUILDKIT_ID = /^[a-z0-9]{25}$/;

/**
 * Asserts that every layer directory belongs to an image or container and has one link, and that only those of running
 * containers are mounted.
 */
export async function requireNoLeaks(stack: DockerStack): Promise<void> {
  await untilEqual(() => leaksOf(stack), [], POLL_MS);
}

/** Returns a line for each thing that should not exist, or is missing. */
export async function leaksOf(stack: DockerStack): Promise<string[]> {
  const home = `${stack.dataRoot}/${DRIVER_NAME}`;
  const layers = await stack.layers();
  const layerdb = `${stack.dataRoot}/image/${DRIVER_NAME}/layerdb`;
  const known = await knownLayers(layerdb);
  const containers = lines(await stack.docker("ps", "--all", "--quiet", "--no-trunc"));
  const links = await namesIn(`${home}/l`);
  const targets = await Promise.all(links.map(async (name) => {
    const target = await ignore(Deno.errors.NotFound, Deno.readLink(`${home}/l/${name}`)); // it may be removed by now
    return target?.split("/")[1];
  }));
  const running = lines(await stack.docker("ps", "--quiet"));
  const mounted = await stack.overlays();
  return [
    ...(await namesIn(`${layerdb}/mounts`)).filter((id) => !containers.includes(id)).map((id) => `no container: ${id}`),
    ...layers.filter((id) => !known.has(id) && !BUILDKIT_ID.test(id)).map((id) => `layer of nobody: ${id}`),
    ...[...known].filter((id) => !layers.includes(id)).map((id) => `layer is gone: ${id}`),
    ...targets.filter((id) => !layers.includes(id ?? "")).map((id) => `stale link to ${id}`),
    ...(targets.length === layers.length ? [] : [`${targets.length} links for ${layers.length} layers`]),
    ...(await namesIn(`${home}/.making`)).map((name) => `half made: ${name}`),
    ...(await namesIn(`${home}/.removing`)).map((name) => `half removed: ${name}`),
    ...(mounted.length === running.length ? [] : [`${running.length} containers run, mounted: ${mounted.join(" ")}`]),
  ];
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

async function knownLayers(layerdb: string): Promise<Set<string>> {
  const files = [
    ...(await namesIn(`${layerdb}/sha256`)).map((chain) => `sha256/${chain}/cache-id`),
    ...(await namesIn(`${layerdb}/mounts`)).flatMap((id) => [`mounts/${id}/mount-id`, `mounts/${id}/init-id`]),
  ];
  const read = (file: string) => ignore(Deno.errors.NotFound, Deno.readTextFile(`${layerdb}/${file}`));
  const ids = await Promise.all(files.map(read));
  return new Set(ids.filter((id) => id !== undefined));
}

async function namesIn(folder: string): Promise<string[]> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(folder)));
  return (entries ?? []).map(({ name }) => name).sort();
}

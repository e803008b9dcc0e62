/**
 * Docker's records of layers that are damaged, or name layers that are gone, described for users.
 *
 * dockerd ignores a layer whose record it cannot read, and its images and containers with it: it neither shows nor
 * removes them. Nor does it pull such an image again, unless both the record and the image's configuration are away.
 * Source: layer/layer_store.go and distribution/pull_v2.go of moby, 20.10 to 27.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import type { LayerProblem } from "../../layer/record/layer_damage.ts";
import { layerRecords } from "./files.ts";
import { CHAIN_ID, chainOf, imageChains, wordsIn } from "./layers.ts";

const LAYER_FILES = ["cache-id", "diff", "parent", "size"] as const;
type LayerWords = { readonly [Name in typeof LAYER_FILES[number]]?: string };

/**
 * Returns what is wrong with Docker's records of layers of images.
 *
 * @param imageDir `<data-root>/image/<driver>`
 * @param home the folder of the layers
 * @throws {Error} if a record cannot be read
 */
export async function recordProblems(imageDir: string, home: string): Promise<LayerProblem[]> {
  const records = layerRecords(imageDir);
  const recorded = await wordsIn(records, LAYER_FILES);
  const images = await imageChains(imageDir);
  const problems: LayerProblem[] = [];
  for (const [chain, words] of recorded) {
    const record = join(records, chain);
    const isFine = damageOf(chain, words) === undefined && existsSync(join(home, words["cache-id"] ?? ""));
    // one that was renamed in the meantime is being removed
    if (isFine || !CHAIN_ID.test(chain) || !existsSync(record)) continue;
    const paths = [...images].filter(([, chains]) => chains.includes(chain)).map(([path]) => path);
    problems.push(describe(record, words, paths));
  }
  for (const [path, chains] of images) {
    const missing = chains.find((chain) => !recorded.has(chain));
    if (missing === undefined || !existsSync(path)) continue;
    const message = `Docker's record of a layer is missing: ${join(records, missing)}`;
    problems.push({ message, remedy: moveAway([path]) });
  }
  return problems;
}

/** How Docker gets to pull the images again. */
function moveAway(paths: readonly string[]): string {
  const move = `mv ${paths.join(" ")} FOLDER`;
  return `systemctl stop docker; ${move}; systemctl start docker; then pull the images of this layer again`;
}

function describe(record: string, words: LayerWords, images: readonly string[]): LayerProblem {
  const damage = damageOf(basename(record), words);
  if (damage !== undefined) {
    const message = `Docker's record of a layer is damaged: ${damage} in ${record}`;
    return { message, remedy: moveAway([record, ...images]) };
  }
  const ids = images.map((path) => basename(path).slice(0, 12));
  return {
    message: `layer ${words["cache-id"]} is gone, but ${record} names it`,
    remedy: ids.length === 0
      ? "remove the images and containers that have it, and pull the images again"
      : `docker rm the containers, and docker rmi --force the images, of ${ids.join(" ")}; then pull these again`,
  };
}

/** What is wrong with a record, as part of a sentence. */
function damageOf(chain: string, { "cache-id": id, diff, parent, size }: LayerWords): string | undefined {
  if (id === undefined) return "cache-id names no layer";
  if (!/^\d+$/.test(size ?? "")) return "size is no number";
  const expected = parent === undefined ? diff : `sha256:${chainOf(parent, diff ?? "")}`;
  return expected === `sha256:${chain}` ? undefined : "diff and parent are not those of this layer";
}

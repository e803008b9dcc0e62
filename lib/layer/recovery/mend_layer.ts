/**
 * Writes files of a layer again that are lost, if the rest of the disk tells what they said.
 *
 * ```
 * layer.json   what the layer's files are, and its digest in dockerd's records
 * lower        the layer below in dockerd's records, or as far as the file still says; and what is below that
 * ```
 * A layer without `layer.json` may also be one whose ApplyDiff did not end. dockerd records a layer only after that, so
 * its records tell.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../base/errors.ts";
import { readStateText } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";
import { syncFolder, writeDurably } from "../../base/durable.ts";
import type { DockerRecords } from "../record/docker_records.ts";
import { lowerOn } from "../record/layer_damage.ts";
import { type Layer, loadLayer } from "../record/layer.ts";
import { formatLower, type HomePaths, idOfLinkTarget, parseLower } from "../record/layer_paths.ts";
import { applyState, readFinished, writeFinished } from "../record/layer_record.ts";
import { type BootstrapVerifier, recogniseLayer } from "../record/recognise_layer.ts";

const log = logger("layer", "recovery");

/** What mending takes. */
export interface Mending {
  readonly images: BootstrapVerifier;
  readonly dockerRecords: Pick<DockerRecords, "layer" | "parents">;
}

/** Writes the layer's record again if it is lost. @throws {Error} if it is, and that is not possible */
export async function mendRecord(home: HomePaths, id: string, { images, dockerRecords }: Mending): Promise<void> {
  const paths = home.layer(id);
  const [finished, reason] = await readFinished(paths).then(
    (finished) => [finished, "it is missing"] as const,
    (error) => {
      if (!(error instanceof NydusGdError) || error.code !== "corrupt") throw error;
      return [undefined, error.message] as const;
    },
  );
  if (finished !== undefined) return;
  const isMissing = reason === "it is missing";
  if (isMissing && applyState(paths, undefined).kind !== "begun") return;
  const recorded = await dockerRecords.layer(id);
  if (isMissing && recorded === undefined) return;
  const { diffId } = recorded ?? {};
  const recognised = await recogniseLayer(paths.diff, images);
  await writeFinished(paths, { ...recognised, ...(diffId === undefined ? {} : { diffId }) });
  log.warn("record of a layer is lost, it is written again", { path: paths.record, reason });
}

/**
 * Writes the layer's list of layers below again.
 *
 * @param layers that are whole, by ID
 * @returns the layer as it is then; undefined if the list is whole, or the layer below is not known or not whole
 */
export async function mendLower(
  home: HomePaths,
  id: string,
  layers: ReadonlyMap<string, Layer>,
  { dockerRecords }: Pick<Mending, "dockerRecords">,
): Promise<Layer | undefined> {
  const paths = home.layer(id);
  const text = await readStateText(paths.lower) ?? "";
  const parentId = (await dockerRecords.layer(id))?.parent ?? await firstOf(home, text);
  const parent = parentId === undefined ? undefined : layers.get(parentId);
  const whole = parent && formatLower(lowerOn(parent));
  if (parent === undefined || whole === undefined || whole === text.trimEnd()) return undefined;
  await writeDurably(paths.lower, whole);
  await syncFolder(paths.root);
  log.warn("list of the layers below a layer is lost, it is written again", { path: paths.lower, parent: parent.id });
  return await loadLayer(home, id);
}

/** ID of the topmost layer that a damaged list still names. */
async function firstOf(home: HomePaths, lower: string): Promise<string | undefined> {
  const [short] = parseLower(lower.split(":")[0] ?? "") ?? [];
  const target = short && await ignore(Deno.errors.NotFound, Deno.readLink(home.shortLink(short)));
  return target === undefined ? undefined : idOfLinkTarget(target);
}

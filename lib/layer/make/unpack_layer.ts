/**
 * Runs one ApplyDiff from its first byte until it is durable.
 *
 * @module
 */
import { throwIfAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { IdMaps } from "../userns/id_maps.ts";
import type { Layer } from "../record/layer.ts";
import { type FinishedLayer, markApplyBegun, markApplyFailed, writeFinished } from "../record/layer_record.ts";
import { type BootstrapVerifier, recogniseLayer } from "../record/recognise_layer.ts";
import { removeTree } from "../../base/remove_tree.ts";

/** Unpacks tars off the main thread. Implemented by apply/applier.ts. */
export interface LayerApplier {
  /**
   * Unpacks `body` into the empty folder `diffDir`; everything is on disk when it resolves.
   *
   * Sizes are bytes; `diffId` is "sha256:…" of the whole body, set if it may be a bootstrap layer. A rejection leaves
   * parts in the folder, but nothing is written to it any more.
   */
  apply(
    diffDir: string,
    body: ReadableStream<Uint8Array>,
    signal: AbortSignal,
    idMaps: IdMaps,
  ): Promise<{ sizeBytes: number; diffId: string | undefined }>;
}

const log = logger("layer");

/**
 * Unpacks a tar into a layer and finishes it. The caller holds the layer's lock.
 *
 * @throws {NydusGdError} "exists" after an earlier ApplyDiff, however it ended; otherwise errors of the tar or its
 * bootstrap. After a failure the layer is empty and can only be removed.
 */
export async function unpackLayer(
  layer: Layer,
  body: ReadableStream<Uint8Array>,
  applier: LayerApplier,
  { images, idMaps, signal }: {
    readonly images: BootstrapVerifier;
    readonly idMaps: IdMaps;
    readonly signal: AbortSignal;
  },
): Promise<FinishedLayer> {
  requireFresh(layer);
  await markApplyBegun(layer.paths);
  const started = performance.now();
  try {
    throwIfAborted(signal);
    const { sizeBytes, diffId } = await applier.apply(layer.paths.diff, body, signal, idMaps);
    const recognised = await recogniseLayer(layer.paths.diff, images);
    const finished = { sizeBytes, ...(diffId === undefined ? {} : { diffId }), ...recognised };
    throwIfAborted(signal);
    await writeFinished(layer.paths, finished);
    const durationMs = Math.round(performance.now() - started);
    log.info("layer applied", {
      layer: layer.id,
      ...(diffId === undefined ? {} : { diffId }),
      sizeBytes,
      lazy: finished.bootstrap !== undefined,
      durationMs,
    });
    return finished;
  } catch (error) {
    await giveUp(layer, messageOf(error));
    throw error;
  }
}

function requireFresh(layer: Layer): void {
  const { apply, id } = layer;
  const refuse = (state: string) => new NydusGdError("exists", `Cannot apply to layer ${id}: ${state}`);
  switch (apply.kind) {
    case "failed":
      throw refuse(`an ApplyDiff of it has failed (${apply.reason})`);
    case "begun":
      throw refuse("an ApplyDiff of it has begun and not ended");
    case "done":
      throw refuse("it has its content already");
  }
  if (layer.readOnly) throw refuse("other layers are stacked on it");
}

async function giveUp(layer: Layer, reason: string): Promise<void> {
  log.warn("layer could not be applied", { layer: layer.id, reason });
  try {
    await markApplyFailed(layer.paths, reason);
    for (const entry of [...Deno.readDirSync(layer.paths.diff)]) await removeTree(`${layer.paths.diff}/${entry.name}`);
  } catch (error) {
    log.warn("parts of the layer stay until it is removed", { layer: layer.id, reason: messageOf(error) });
  }
}

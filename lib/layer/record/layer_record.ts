/**
 * The files that record a layer's state beside its `diff`, and the order in which they are written.
 *
 * ```
 * Create               link, lower                    a layer that can be written
 * ApplyDiff begins     + apply                        until layer.json is there, the content is not whole
 * ApplyDiff ends       + layer.json                   finished for good
 * ApplyDiff failed     apply holds the reason         nothing but Remove is possible
 * Create on top        + committed, layer.json        read-only from now on
 * ```
 *
 * A repeated ApplyDiff would get an empty body, since the real one is consumed, and record a good digest over lost
 * data. So `apply` is durable before the first byte is unpacked and is never withdrawn.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import * as v from "valibot";
import { BOOTSTRAP_PATHS } from "../lazy/bootstrap_layer.ts";
import { syncFolder, writeDurably } from "../../base/durable.ts";
import type { LayerPaths } from "./layer_paths.ts";

/** What the files of a layer are. */
export const RecognisedLayerSchema = v.object({
  /** The root is opaque: nothing below this layer is visible. */
  opaque: v.boolean(),
  /** The layer is the bootstrap of a lazy image. */
  bootstrap: v.optional(v.object({
    /** Relative to the layer's diff. */
    path: v.picklist(BOOTSTRAP_PATHS),
    root: v.object({ mode: v.number(), uid: v.number(), gid: v.number() }),
  })),
});

const FinishedLayerSchema = v.object({
  ...RecognisedLayerSchema.entries,
  /** "sha256:…" of a bootstrap layer's tar; absent for a layer that was written, not applied. */
  diffId: v.optional(v.string()),
  /** Bytes of its files, as shown by Docker; absent for a layer that was written. */
  sizeBytes: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});

/** See {@link RecognisedLayerSchema}. */
export type RecognisedLayer = v.InferOutput<typeof RecognisedLayerSchema>;

/** Content of layer.json. */
export type FinishedLayer = v.InferOutput<typeof FinishedLayerSchema>;

/** Progress of an ApplyDiff: not begun, begun and not ended, failed with a reason, or done. */
export type ApplyState = { readonly kind: "none" | "begun" | "done" } | {
  readonly kind: "failed";
  readonly reason: string;
};

/**
 * Reads layer.json; undefined if it does not exist.
 *
 * @throws {NydusGdError} "corrupt" if it was not written by this store
 */
export async function readFinished(paths: LayerPaths): Promise<FinishedLayer | undefined> {
  try {
    const value = await readJsonFile(paths.record);
    return value === undefined ? undefined : v.parse(FinishedLayerSchema, value);
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof v.ValiError)) throw error;
    throw new NydusGdError("corrupt", `Cannot read "${paths.record}": ${error.message}`, { cause: error });
  }
}

/** Writes layer.json; on disk when it returns. */
export async function writeFinished(paths: LayerPaths, finished: FinishedLayer): Promise<void> {
  await writeJsonFile(paths.record, finished);
}

/** Progress of the layer's ApplyDiff. */
export function applyState(paths: LayerPaths, finished: FinishedLayer | undefined): ApplyState {
  let reason: string;
  try {
    reason = Deno.readTextFileSync(paths.applyMarker);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { kind: "none" };
    throw error;
  }
  if (finished !== undefined) return { kind: "done" };
  return reason === "" ? { kind: "begun" } : { kind: "failed", reason };
}

/** Records that an ApplyDiff has begun; on disk when it returns. */
export async function markApplyBegun(paths: LayerPaths): Promise<void> {
  await writeDurably(paths.applyMarker, "");
  await syncFolder(paths.root);
}

/** Records why the ApplyDiff failed, for later calls. */
export async function markApplyFailed(paths: LayerPaths, reason: string): Promise<void> {
  await writeDurably(paths.applyMarker, reason === "" ? "unknown reason" : reason);
}

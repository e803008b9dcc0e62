/**
 * What the files beside a layer's `diff` say, and the order in which they are written.
 *
 * ```
 * Create               link, lower                    a layer that can be written
 * ApplyDiff begins     + apply                        until layer.json is there, the content is not whole
 * ApplyDiff ends       + layer.json                   finished for good
 * ApplyDiff failed     apply holds the reason         nothing but Remove is possible
 * Create on top        + committed, layer.json        read-only from now on
 * ```
 *
 * An ApplyDiff that comes twice would be given a body that is gone and record a good digest over lost data: `apply`
 * is durable before the first byte is unpacked and is never taken back.
 *
 * @module
 */
import { getxattr } from "../../ffi/sys_xattr.ts";
import { isErrno } from "../../ffi/errno.ts";
import { NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import * as v from "valibot";
import { BOOTSTRAP_PATHS } from "./bootstrap_layer.ts";
import { syncFolder, writeDurably } from "./durable.ts";
import type { LayerPaths } from "./layer_paths.ts";

const FinishedLayerSchema = v.object({
  /** "sha256:…" of a bootstrap layer's tar; absent for a layer that was written, not applied. */
  diffId: v.optional(v.string()),
  /** Bytes of its files, as Docker shows them; absent for a layer that was written. */
  sizeBytes: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  /** The root is opaque: nothing below this layer shows. */
  opaque: v.boolean(),
  /** The layer is the bootstrap of a lazy image. */
  bootstrap: v.optional(v.object({
    /** Relative to the layer's diff. */
    path: v.picklist(BOOTSTRAP_PATHS),
    root: v.object({ mode: v.number(), uid: v.number(), gid: v.number() }),
  })),
});

/** Content of layer.json. */
export type FinishedLayer = v.InferOutput<typeof FinishedLayerSchema>;

/** How far an ApplyDiff has come: not begun, begun and not ended, failed with a reason, or done. */
export type ApplyState = { readonly kind: "none" | "begun" | "done" } | {
  readonly kind: "failed";
  readonly reason: string;
};

/**
 * The content of layer.json, undefined while there is none.
 *
 * @throws {NydusGdError} "corrupt" when it is not what this store writes
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

/** How far an ApplyDiff of the layer has come. */
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

/** Notes that an ApplyDiff has begun; on disk when it returns. */
export async function markApplyBegun(paths: LayerPaths): Promise<void> {
  await writeDurably(paths.applyMarker, "");
  await syncFolder(paths.root);
}

/** Notes why the ApplyDiff failed, for who asks again. */
export async function markApplyFailed(paths: LayerPaths, reason: string): Promise<void> {
  await writeDurably(paths.applyMarker, reason === "" ? "unknown reason" : reason);
}

const OPAQUE = "trusted.overlay.opaque";

/** Whether the folder carries overlay's opaque mark. */
export function isOpaque(folder: string): boolean {
  try {
    return getxattr(folder, OPAQUE)[0] === 0x79;
  } catch (error) {
    if (isErrno(error, "ENODATA", "EOPNOTSUPP")) return false;
    throw error;
  }
}

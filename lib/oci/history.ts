/**
 * The history in an image's configuration: the steps by which it was made, of which some made a layer. Source: OCI image
 * spec 1.1, config.md.
 *
 * @module
 */
import type { Digest } from "./digest.ts";

/** A step. */
export interface HistoryStep {
  /** The step made no layer. */
  readonly empty_layer?: boolean;
  readonly created_by?: string;
  readonly comment?: string;
}

/** The document of a configuration. */
type ConfigDocument = Readonly<Record<string, unknown>>;

/** The steps of a configuration's history, without what is none. */
export function historyOf({ history }: ConfigDocument): HistoryStep[] {
  return Array.isArray(history) ? history.filter((step) => typeof step === "object" && step !== null) : [];
}

/**
 * The time of a step that is added to the history of a configuration: the image's own, so that the result depends on
 * nothing else. Some tools (nerdctl) fail for a step without one.
 */
export function createdOf({ created }: ConfigDocument): { readonly created?: string } {
  return typeof created === "string" ? { created } : {};
}

/**
 * The configuration of an image whose layers have become one, by `step`. The history of the original layers is kept as
 * steps without a layer.
 */
export function configOfOneLayer(config: ConfigDocument, diffId: Digest, step: HistoryStep): Record<string, unknown> {
  return {
    ...config,
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [
      ...historyOf(config).map((before) => ({ ...before, empty_layer: true })),
      { ...createdOf(config), ...step },
    ],
  };
}

/**
 * The history of an image whose only layer is a bootstrap: written when converting, recognised in what is converted.
 *
 * @module
 */
import { PULLED_HISTORY } from "../../pull/bootstrap_only.ts";

/** A step of an image's history. Source: OCI image spec, config.md. */
interface HistoryItem {
  readonly empty_layer?: boolean;
  readonly created_by?: string;
  readonly comment?: string;
}

/** The step of the bootstrap's layer. The comment is nydusify's. */
export const BOOTSTRAP_HISTORY = { created_by: "nydus-gd convert", comment: "Nydus Bootstrap Layer" } as const;

/** Whether the history of a configuration says that the image's only layer is a bootstrap. */
export function isBootstrapOnly(config: Readonly<Record<string, unknown>>): boolean {
  const [step, ...more] = historyOf(config).filter(({ empty_layer: isEmpty }) => isEmpty !== true);
  if (step === undefined || more.length > 0) return false;
  return step.comment === BOOTSTRAP_HISTORY.comment || step.created_by === PULLED_HISTORY;
}

/** The steps of a configuration's history, without what is none. */
export function historyOf(config: Readonly<Record<string, unknown>>): HistoryItem[] {
  const { history } = config;
  return Array.isArray(history) ? history.filter((item) => typeof item === "object" && item !== null) : [];
}

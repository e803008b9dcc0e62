/**
 * The history of an image whose only layer is a bootstrap: written when converting, recognised in what is converted.
 *
 * @module
 */
import { historyOf } from "../../../oci/history.ts";
import { PULLED_HISTORY } from "../../pull/bootstrap_only.ts";

/** The step of the bootstrap's layer. The comment is nydusify's. */
export const BOOTSTRAP_HISTORY = { created_by: "nydus-gd convert", comment: "Nydus Bootstrap Layer" } as const;

/** Whether the history of a configuration says that the image's only layer is a bootstrap. */
export function isBootstrapOnly(config: Readonly<Record<string, unknown>>): boolean {
  const [step, ...more] = historyOf(config).filter(({ empty_layer: isEmpty }) => isEmpty !== true);
  if (step === undefined || more.length > 0) return false;
  return step.comment === BOOTSTRAP_HISTORY.comment || step.created_by === PULLED_HISTORY;
}

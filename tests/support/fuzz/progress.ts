/**
 * The file in which a child of a campaign reports its progress: two doubles, position and number of accepted inputs.
 *
 * @module
 */

/** Size of the file in bytes. */
export const PROGRESS_BYTES = 16;

/** How far a child is. */
export interface CampaignProgress {
  /** The current input; the end of the range when all are done. */
  readonly position: number;
  /** Number of inputs accepted without an error; written when all are done. */
  readonly accepted: number;
}

/** Reads the file. */
export function readProgress(path: string): CampaignProgress {
  const view = new DataView(Deno.readFileSync(path).buffer);
  return { position: view.getFloat64(0, true), accepted: view.getFloat64(8, true) };
}

/**
 * The file through which a child of a campaign tells how far it is: two doubles, position and inputs accepted.
 *
 * @module
 */

/** Bytes of the file. */
export const PROGRESS_BYTES = 16;

/** What a child says. */
export interface Progress {
  /** The input that is under way; the end of the range when all are done. */
  readonly position: number;
  /** Inputs that were taken without an error; there when all are done. */
  readonly accepted: number;
}

/** Reads the file. */
export function readProgress(path: string): Progress {
  const view = new DataView(Deno.readFileSync(path).buffer);
  return { position: view.getFloat64(0, true), accepted: view.getFloat64(8, true) };
}

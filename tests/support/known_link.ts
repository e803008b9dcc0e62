/**
 * A link whose speed is known.
 *
 * @module
 */
import { LinkEstimate } from "../../lib/blob/link_estimate.ts";

/** An estimate that says: 20 ms a request, in which the link carries `delayBytes`. It learns nothing more. */
export function knownLink(delayBytes: number): LinkEstimate {
  let nowMs = 0;
  const link = new LinkEstimate(() => nowMs);
  for (let i = 0; i < 20; i++) {
    const bytes = i % 2 === 0 ? 1000 : 1_000_000;
    const done = link.begin();
    nowMs += 20 + bytes / (delayBytes / 20);
    done(bytes);
  }
  return link;
}

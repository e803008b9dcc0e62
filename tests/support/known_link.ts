/**
 * A link whose speed is known.
 *
 * @module
 */
import { LinkEstimate } from "../../lib/blob/fetch/link_estimate.ts";

/** An estimate that says: a request begins after `latencyMs`, in which the link carries `delayBytes`. It learns no more. */
export function knownLink(delayBytes: number, latencyMs = 20): LinkEstimate {
  let nowMs = 0;
  const link = new LinkEstimate(() => nowMs);
  for (let i = 0; i < 20; i++) {
    const bytes = i % 2 === 0 ? 1000 : 1_000_000;
    const timer = link.begin();
    nowMs += latencyMs + bytes / (delayBytes / latencyMs);
    timer.done(bytes);
  }
  return link;
}

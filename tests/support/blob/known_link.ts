/**
 * A link of known speed.
 *
 * @module
 */
import { LinkEstimate } from "../../../lib/blob/fetch/link_estimate.ts";

/** A fixed estimate of a link that has a latency of `latencyMs` and carries `delayBytes` in that time. */
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

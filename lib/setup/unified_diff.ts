/**
 * The difference of two texts in unified diff format, for people and for patch(1).
 *
 * ```
 * --- /etc/docker/daemon.json
 * +++ /etc/docker/daemon.json
 * @@ -1,3 +1,4 @@
 *  {
 * -  "a": 1
 * +  "a": 1,
 * +  "b": true
 *  }
 * ```
 *
 * @module
 */
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from "diff";

/** Lines of context around a change. */
const CONTEXT = 3;

/**
 * Returns the diff; "" if the texts are equal.
 *
 * @param names names after `---` and `+++`; `/dev/null` for a missing file
 */
export function unifiedDiff(names: readonly [before: string, after: string], before: string, after: string): string {
  if (before === after) return "";
  const options = { context: CONTEXT, headerOptions: FILE_HEADERS_ONLY };
  return createTwoFilesPatch(...names, before, after, undefined, undefined, options);
}

/**
 * Text output of `nydus-gd check`: one line per finding, and a summary.
 *
 * ```
 * structure /etc/passwd: its link count is 2, expected 1
 * chunk blob 3f2a…: chunk 17 (/usr/bin/env and 2 more): sha256 is …, expected …
 * RAFS v6, 416 names, 412 inodes, 1 blob; 343 chunks verified: 2 findings
 * ```
 *
 * @module
 */
import { countText } from "../base/count_text.ts";
import type { CheckReport } from "../image/check/check_image.ts";
import { oneLine } from "./output.ts";

/** Returns the lines without line ends. */
export function checkLines(report: CheckReport): string[] {
  const { findings, count, remarks } = report;
  return [
    ...findings.map(({ kind, where, state }) => oneLine(`${kind} ${where}: ${state}`)),
    ...(count > findings.length ? [`… and ${count - findings.length} more, which are not shown`] : []),
    ...remarks.map((remark) => oneLine(`remark: ${remark}`)),
    `${subject(report)}: ${count === 0 ? "nothing is wrong" : countText(count, "finding")}`,
  ];
}

function subject({ version, names, inodes, blobs }: CheckReport): string {
  if (version === undefined) return "no readable bootstrap";
  const verified = blobs.flatMap(({ verifiedChunks }) => verifiedChunks === undefined ? [] : [verifiedChunks]);
  const chunks = verified.reduce((sum, count) => sum + count, 0);
  const looked = [
    `RAFS v${version}`,
    countText(names, "name"),
    countText(inodes, "inode"),
    ...(blobs.length > 0 ? [countText(blobs.length, "blob")] : []),
    ...(verified.length > 0 ? [`${countText(chunks, "chunk")} verified`] : []),
  ];
  return looked.join(", ");
}

/**
 * Checks a bootstrap for inconsistencies, as `nydus-gd check` does without blobs.
 *
 * @module
 */
import type { Bootstrap } from "../../../lib/rafs/bootstrap.ts";
import { ChunkCheck } from "../../../lib/rafs/check/chunk_check.ts";
import { checkDevices } from "../../../lib/rafs/check/device_check.ts";
import { Findings } from "../../../lib/rafs/check/findings.ts";
import { TreeCheck } from "../../../lib/rafs/check/tree_check.ts";

/** @param bytes bytes of `tree` */
export function checkBootstrap(bytes: Uint8Array, tree: Bootstrap): Findings {
  const findings = new Findings();
  const chunks = new ChunkCheck(tree, tree.blobs, findings);
  chunks.checkRecords();
  new TreeCheck(tree, findings, chunks).run();
  chunks.finish();
  if (tree.version === 6) checkDevices(bytes, tree.blobs, findings);
  return findings;
}

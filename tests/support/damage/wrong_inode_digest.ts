/**
 * A RAFS v5 image in which one file has another digest than its chunks.
 *
 * @module
 */
import { openV5 } from "../../../lib/rafs/v5/bootstrap.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";

const TYPE = 0o170000, REGULAR = 0o100000;

/** Changes the digest of the first file with data, in place. */
export function spoilInodeDigest(bootstrap: Uint8Array): void {
  const tree = openV5(bootstrap);
  for (const { ino, attr } of walkTree(tree)) {
    if ((attr.mode & TYPE) !== REGULAR || attr.size === 0) continue;
    const { expected } = tree.recordDigest(ino);
    bootstrap[expected.byteOffset - bootstrap.byteOffset] = (expected[0] as number) ^ 1;
    return;
  }
  throw new Error("Cannot spoil a digest: no file of the image has data");
}

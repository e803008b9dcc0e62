/**
 * nydusd's `digest_validate`: the digests that RAFS v5 keeps of its files.
 *
 * The digest of a file is made over the digests of its chunks, so with it right, and every chunk compared with its own
 * digest as always, a file is what its builder saw. v6 keeps no digests of files: nydusd refuses the key there; here the
 * digests of its chunks, which are always checked, are all that can be asked for.
 *
 * @module
 */
import { S } from "../../ffi/sys_stat.ts";
import { equalBytes } from "../base/bytes.ts";
import { digest, prepareDigests } from "../blob/codec/codec.ts";
import { type Bootstrap, type Digester, RafsError } from "../rafs/bootstrap.ts";
import type { V5Bootstrap } from "../rafs/v5/bootstrap.ts";
import { walkTree } from "../rafs/walk.ts";

/**
 * Compares the digest of every file.
 *
 * @throws {RafsError} "invalid-image" that names the first file whose chunks are not those that it was made of
 */
export async function checkInodeDigests(tree: Bootstrap): Promise<void> {
  if (!isV5(tree)) return;
  const digester: Digester = tree.blobs[0]?.digester ?? "blake3";
  await prepareDigests();
  for (const { path, ino, attr } of walkTree(tree)) {
    if ((attr.mode & S.IFMT) !== S.IFREG) continue;
    const { input, expected } = tree.recordDigest(ino);
    if (equalBytes(digest(digester, input), expected)) continue;
    const name = JSON.stringify(new TextDecoder().decode(path));
    throw new RafsError(`Cannot read RAFS v5 inode ${ino}: the digest of ${name} is not that of its chunks`);
  }
}

function isV5(tree: Bootstrap): tree is V5Bootstrap {
  return tree.version === 5;
}

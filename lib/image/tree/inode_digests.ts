/**
 * Implements nydusd's `digest_validate`: verifies the inode digests of RAFS v5.
 *
 * The digest of a file covers the digests of its chunks, and every chunk is always verified against its own digest.
 * Both together prove that a file has the content that its builder saw. v6 has no inode digests; nydusd refuses the key
 * there, while here the chunk digests are all that is checked.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { equalBytes } from "../../base/bytes.ts";
import { digest, prepareDigests } from "../../blob/codec/codec.ts";
import { type Bootstrap, type Digester, RafsError } from "../../rafs/bootstrap.ts";
import { isV5 } from "../../rafs/v5/bootstrap.ts";
import { walkTree } from "../../rafs/walk.ts";

/**
 * Verifies the digest of every file.
 *
 * @throws {RafsError} "invalid-image"; names the first file whose digest does not match its chunks
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

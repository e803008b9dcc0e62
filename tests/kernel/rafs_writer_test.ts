/**
 * Bootstraps that we write, verified by other implementations: fsck.erofs and the kernel.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Bootstrap } from "../../lib/rafs/bootstrap.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { canMountErofs, FSCK, hasFsck, mountErofs } from "../support/mount/erofs_mount.ts";
import { listBootstrap } from "../support/rafs/rafs_fixtures.ts";
import { type RandomNode, randomTree, TREE_CHUNK, treeBlob, writeTree } from "../support/rafs/rafs_trees.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";

/** Adjusts an inode to what the kernel shows: it hides user.* on special files and requires valid ACLs. */
function presentable(node: RandomNode): RandomNode {
  const xattrs = node.xattrs.filter(([name]) => name.startsWith("trusted.") || name.startsWith("security."));
  return { ...node, xattrs, uid: Math.min(node.uid, 0xffff_fffe), gid: Math.min(node.gid, 0xffff_fffe) };
}

/** The same trees each time. */
const trees = fc.sample(randomTree, { numRuns: 8, seed: 3 }).map((nodes) => nodes.map(presentable));

/** Content of a chunk, unique among chunks. */
function chunkContent(blobIndex: number, chunkIndex: number): Uint8Array {
  return Uint8Array.from({ length: TREE_CHUNK }, (_, i) => (i * (chunkIndex + 3) + (i >> 8) + blobIndex * 101) & 0xff);
}

/** Writes the bootstrap, and for each blob a sparse file with its address space. */
function writeImage(temp: TempDir, bytes: Uint8Array, bootstrap: Bootstrap): { image: string; devices: string[] } {
  const image = temp.join("image");
  Deno.writeFileSync(image, bytes);
  const devices = bootstrap.blobs.map((blob) => {
    const path = temp.join(`device-${blob.index}`);
    using file = Deno.openSync(path, { write: true, create: true });
    file.truncateSync(treeBlob(blob.index).uncompressedSize);
    for (const { ino, attr } of walkTree(bootstrap)) {
      if ((attr.mode & 0o170000) !== 0o100000) continue;
      for (const extent of bootstrap.extents(ino, 0, attr.size)) {
        if (extent.blobIndex !== blob.index) continue;
        file.seekSync(extent.chunkOffset, Deno.SeekMode.Start);
        file.writeSync(chunkContent(blob.index, extent.chunkIndex));
      }
    }
    return path;
  });
  return { image, devices };
}

function contentOf(bootstrap: Bootstrap, ino: number, size: number): Uint8Array {
  const content = new Uint8Array(size);
  for (const { blobIndex, chunkIndex, fileOffset, length } of bootstrap.extents(ino, 0, size)) {
    content.set(chunkContent(blobIndex, chunkIndex).subarray(0, length), fileOffset);
  }
  return content;
}

trees.forEach((nodes, number) => {
  Deno.test({
    name: `fsck.erofs finds no error in written tree ${number}`,
    ignore: !hasFsck,
    fn: async () => {
      using temp = TempDir.make();
      const { bytes } = writeTree(nodes);
      const { image, devices } = writeImage(temp, bytes, openBootstrap(bytes));
      const args = [...devices.map((device) => `--device=${device}`), "--extract", image];
      const { code, stdout, stderr } = await new Deno.Command(FSCK, { args, stdout: "piped", stderr: "piped" })
        .output();
      assert.equal(code, 0, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
    },
  });

  Deno.test({
    name: `the kernel shows written tree ${number} as the reader does`,
    ignore: !canMountErofs,
    fn: async () => {
      using temp = TempDir.make();
      const { bytes } = writeTree(nodes);
      const bootstrap = openBootstrap(bytes);
      const { image, devices } = writeImage(temp, bytes, bootstrap);
      const at = temp.join("mnt");
      Deno.mkdirSync(at);
      const expected = await listBootstrap(
        bootstrap,
        (ino, size) => Promise.resolve(contentOf(bootstrap, ino, size)),
      );
      using mounted = mountErofs(image, devices, at);
      if (mounted !== undefined) assert.deepEqual(listTree(at), expected);
    },
  });
});

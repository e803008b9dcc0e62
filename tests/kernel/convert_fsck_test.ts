/**
 * Images built from a tar, verified by other programs: fsck.erofs extracts the image, GNU tar the archive.
 *
 * @module
 */
import assert from "node:assert/strict";
import { buildFrom } from "../support/rafs/built_rafs.ts";
import { FSCK, hasFsck, writeAddressSpace } from "../support/mount/erofs_mount.ts";
import { isRoot } from "../support/root_test.ts";
import { device, dir, fifo, file, hardlink, symlink, tarOf, xattrs } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";

async function run(program: string, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, stdout: "piped", stderr: "piped" }).output();
  assert.equal(code, 0, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
}

const text = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * seed + (i >> 7) * 31 + (i >> 12)) & 0xff);

Deno.test({
  name: "fsck.erofs extracts a built image like GNU tar extracts its archive",
  ignore: !hasFsck || !isRoot,
  fn: async () => {
    using temp = TempDir.make();
    const archive = tarOf(
      dir("./", { mode: 0o755 }),
      dir("./etc", { uid: 1, gid: 2, mode: 0o2750 }),
      ...Array.from({ length: 300 }, (_, k) => file(`./etc/file-${k}`, text(k * 97, k + 1), { uid: k, mode: 0o600 })),
      file("./etc/large", text(300_000, 7), {
        ...xattrs({ "user.note": "kept", "trusted.x": "\0\xff" }),
        mode: 0o751,
      }),
      file("./etc/zeros", new Uint8Array(70_000)),
      file("./etc/empty"),
      file("./etc/file-1", "replaced"),
      symlink("./etc/link", "large"),
      hardlink("./etc/again", "./etc/large", { mode: 0o751 }), // Docker takes its mode, GNU tar that of the first name
      hardlink("./etc/link-again", "./etc/link"),
      device("./null", "char", 1, 3),
      device("./disk", "block", 8, 300),
      fifo("./pipe"),
      file("./\xff\xfename", "bytes"),
    );
    for (const chunkSize of [4096, 65_536, 1 << 20]) {
      const image = await buildFrom(archive, { chunkSize });
      const at = (name: string) => temp.join(`${chunkSize}-${name}`);
      await Deno.writeFile(at("image"), image.bytes);
      await Deno.writeFile(at("tar"), archive);
      await writeAddressSpace(image.bootstrap, 0, image.blob, at("device"));
      await Deno.mkdir(at("tree"));
      const unpack = ["--extract", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions"];
      await run("tar", ...unpack, "--file", at("tar"), "--directory", at("tree"));
      await run(FSCK, `--device=${at("device")}`, "--extract", at("image"));
      await run(FSCK, `--device=${at("device")}`, `--extract=${at("out")}`, "--preserve", "--overwrite", at("image"));
      // fsck.erofs extracts no attributes, and in some versions hard links as separate files
      const comparable = (tree: string) =>
        listTree(tree).map(({ xattrs: _xattrs, nlink, link: _link, ...entry }) => ({
          ...entry,
          ...(entry.type === "dir" ? { nlink } : {}),
        }));
      assert.deepEqual(comparable(at("out")), comparable(at("tree")));
    }
  },
});

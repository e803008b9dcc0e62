/**
 * Images for the kernel that are changed copies of damaged bootstraps, mounted by the kernel alone: it shows what the
 * reader shows, or the bootstrap is refused.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Bootstrap } from "../../lib/rafs/bootstrap.ts";
import { type ErofsImage, makeErofsImage } from "../../lib/rafs/erofs/erofs_image.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../lib/rafs/format/inode_mode.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { RafsError } from "../../lib/rafs/format/rafs_error.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { canMountErofs, mountErofs } from "../support/mount/erofs_mount.ts";
import { listRafsFixtures, readFixtureBootstrap } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";

/** The super blocks come first; the tree, which this is about, follows them. */
const TREE_AT = 4096;

Deno.test({
  name: "of a damaged bootstrap the kernel shows the names and attributes that the reader shows",
  ignore: !canMountErofs,
}, async () => {
  using temp = TempDir.make();
  Deno.mkdirSync(temp.join("mnt"));
  for (const fixture of listRafsFixtures().filter(({ name }) => name.startsWith("v6") && name !== "v6-tarfs")) {
    const intact = (await readFixtureBootstrap(fixture)).slice();
    const byte = fc.tuple(fc.integer({ min: TREE_AT, max: intact.length - 1 }), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 3 }), async (changes) => {
        const bytes = intact.slice();
        for (const [at, value] of changes) bytes[at] = value;
        const made = imageOf(bytes);
        if (made === undefined) return;
        const shown = await shownByKernel(made.image, temp);
        if (shown !== undefined) assert.deepEqual(shown, shownByReader(made.tree), fixture.name);
      }),
      { numRuns: 10 },
    );
  }
});

/** The image; undefined if the bootstrap is refused. */
function imageOf(bytes: Uint8Array): { readonly tree: Bootstrap; readonly image: ErofsImage } | undefined {
  try {
    const tree = openBootstrap(bytes, { treeOnly: true });
    return { tree, image: makeErofsImage(tree) };
  } catch (error) {
    if (error instanceof RafsError) return undefined;
    throw error;
  }
}

/** Mounts the image on devices without data; undefined if this kernel mounts no files. */
async function shownByKernel({ bytes, devices }: ErofsImage, temp: TempDir): Promise<string[] | undefined> {
  Deno.writeFileSync(temp.join("image"), bytes);
  const paths = devices.map(({ sizeBytes }, index) => {
    Deno.writeFileSync(temp.join(`device-${index}`), new Uint8Array());
    Deno.truncateSync(temp.join(`device-${index}`), sizeBytes);
    return temp.join(`device-${index}`);
  });
  using mounted = mountErofs(temp.join("image"), paths, temp.join("mnt"));
  if (mounted === undefined) return undefined;
  const args = [".", "-printf", "%P|%y%m|%U|%G|%n|%s|%l\\0"];
  const { success, stdout } = await new Deno.Command("find", { args, cwd: temp.join("mnt") }).output();
  assert.ok(success);
  return latin1(stdout).split("\0").slice(0, -1).map((line) => line.replace(IGNORED, "$1")).sort();
}

/** Sizes of directories, which the reader does not show. */
const IGNORED = /^(.*\|d\d+\|.*\|)\d+\|$/s;

/** As find prints types. */
const LETTERS: Readonly<Record<number, string>> = {
  [S_IFREG]: "f",
  [S_IFDIR]: "d",
  [S_IFLNK]: "l",
  0o020000: "c",
  0o060000: "b",
  0o010000: "p",
  0o140000: "s",
};

function shownByReader(tree: Bootstrap): string[] {
  const lines: string[] = [];
  for (const { path, ino, attr: { mode, uid, gid, nlink, size } } of walkTree(tree)) {
    const type = mode & S_IFMT;
    const target = type === S_IFLNK ? latin1(tree.readlink(ino)) : "";
    const bytes = type === S_IFREG || type === S_IFLNK ? size : 0;
    const line = `${latin1(path.subarray(1))}|${LETTERS[type]}${(mode & 0o7777).toString(8)}|${uid}|${gid}|${nlink}|`;
    lines.push(type === S_IFDIR ? line : `${line}${bytes}|${target}`);
  }
  return lines.sort();
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/**
 * A tree of 100,000 files through the whole stack, with the memory that it takes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { V8_FLAGS } from "../../scripts/build_binary.ts";
import { costOf } from "../bench/process_cost.ts";
import { commandLine, Server } from "../support/process/command.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { Tmpfs } from "../support/tmpfs.ts";

const FOLDERS = 1000;
const FILES_IN_FOLDER = 100;

/** Memory limit of most commands. */
const MOST_MEGABYTES = 300;
/** Memory limit of a conversion to v5, whose bootstrap is half as large again, with a digest per inode. */
const MOST_MEGABYTES_V5 = 340;

/** Attributes of everything below $1 except sizes of folders, which file systems count differently. */
const LISTING = `cd "$1"
find . -mindepth 1 '(' -type d -printf '%p d %m %U %G %T@\\n' ')' -o -printf '%p %y %m %U %G %n %s %T@ %l\\n' |
  LC_ALL=C sort | sha256sum`;
/** Contents of the files below $1 whose names match $2. */
const CONTENTS = `cd "$1"
find . -type f -name "$2" -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`;

async function shell(script: string, ...args: string[]): Promise<string> {
  const words = ["-o", "pipefail", "-euc", script, "bash", ...args];
  const { success, stdout, stderr } = await new Deno.Command("bash", { args: words, stdin: "null" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

function makeTree(root: string): void {
  for (let folder = 0; folder < FOLDERS; folder++) {
    const path = `${root}/${folder % 10}/folder-${folder}`;
    Deno.mkdirSync(path, { recursive: true });
    Deno.symlinkSync(`file-${folder % FILES_IN_FOLDER}`, `${path}/link`);
    for (let file = 0; file < FILES_IN_FOLDER; file++) {
      Deno.writeTextFileSync(`${path}/file-${file}`, `file ${file} of folder ${folder % 500}\n`);
    }
    Deno.linkSync(`${path}/file-0`, `${path}/again`);
  }
}

/** Runs `nydus-gd COMMAND ARGS` like the executable, and asserts success within the memory limit. */
async function within(command: string, ...args: string[]): Promise<void> {
  const [program, run = "", ...words] = commandLine([command, ...args]);
  const { peakMegabytes } = await costOf(program, [run, V8_FLAGS, ...words]);
  const most = command === "convert" && words.includes("5") ? MOST_MEGABYTES_V5 : MOST_MEGABYTES;
  assert.ok(peakMegabytes <= most, `${command} took ${peakMegabytes} MB`);
}

fuseTest(
  "a tree of 100,000 files is converted to either version, checked, mounted and unpacked",
  async () => {
    using temp = new Tmpfs();
    const tree = temp.join("tree");
    makeTree(tree);
    const listing = await shell(LISTING, tree);
    const [some, all] = [await shell(CONTENTS, tree, "file-7"), await shell(CONTENTS, tree, "*")];
    await shell(`tar --format=posix -C "$1" -cf "$2" .`, tree, temp.join("tree.tar"));
    for (const [version, source] of [["6", `dir:${tree}`], ["5", `tar:${temp.join("tree.tar")}`]] as const) {
      const image = `oci:${temp.join(`image-${version}`)}:1`;
      await within("convert", "--fs-version", version, source, image, "--work-dir", temp.join("work"));
      await within("check", "--blobs", image);
      const at = temp.join("mounted");
      Deno.mkdirSync(at, { recursive: true });
      {
        await using _server = await Server.start(["mount", image, at, "--cache-dir", temp.join("cache")], /^mounted /);
        assert.equal(await shell(LISTING, at), listing);
        assert.equal(await shell(CONTENTS, at, "file-7"), some);
      }
      await Deno.remove(temp.join("cache"), { recursive: true });
      if (version === "5") continue;
      await within("unpack", image, temp.join("unpacked"));
      assert.equal(await shell(LISTING, temp.join("unpacked")), listing);
      assert.equal(await shell(CONTENTS, temp.join("unpacked"), "*"), all);
      await Deno.remove(temp.join("unpacked"), { recursive: true });
    }
  },
);

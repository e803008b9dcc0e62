/**
 * Archives exchanged with other implementations: GNU tar, Python's tarfile, libarchive's bsdtar.
 *
 * @module
 */
import { deepEqual, equal } from "node:assert/strict";
import { concatenate, toByteString } from "../../lib/base/bytes.ts";
import { diffTar } from "../../lib/layer/diff/diff.ts";
import { applyTar } from "../support/layer/apply_tar.ts";
import { isRoot } from "../support/root_test.ts";
import { dir, entriesOf, fifo, file, hardlink, symlink, tarOf, xattrs } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";

const has = (program: string): boolean => {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
};
const present = { tar: has("tar"), python3: has("python3"), bsdtar: has("bsdtar") };
for (const [program, there] of Object.entries(present)) {
  if (!there) console.log(`skipped: there is no ${program} to compare with`);
}

function run(program: string, args: string[]): Uint8Array<ArrayBuffer> {
  const { success, stdout, stderr } = new Deno.Command(program, { args, stderr: "piped" }).outputSync();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return stdout;
}

/** The tree in a folder but for its root, whose attributes a layer does not have. */
function treeBelow(root: string) {
  return listTree(root).filter(({ path }) => path !== "/");
}

/** Entries that every dialect but v7 can represent. */
function sample(): Uint8Array<ArrayBuffer> {
  const long = "n".repeat(90);
  return tarOf(
    dir("d", { mode: 0o1777, uid: 5, gid: 6 }),
    file("d/f", "x".repeat(1000), { uid: 1234, mode: 0o4755 }),
    hardlink("hard", "d/f"),
    symlink("l", long),
    fifo("p"),
    dir(long),
    dir(`${long}/${long}`),
    file(`${long}/${long}/f`, "deep"),
    file("latin1-\xe9\xff", "bytes"),
  );
}

const dialects = ["gnu", "oldgnu", "posix", "ustar"];

for (const dialect of dialects) {
  Deno.test({
    name: `GNU tar's ${dialect} archives unpack to the packed tree`,
    ignore: !isRoot || !present.tar,
    fn: () => {
      using temp = TempDir.make();
      for (const name of ["a", "b"]) Deno.mkdirSync(temp.join(name));
      applyTar([sample()], temp.join("a"));
      applyTar([run("tar", ["--format", dialect, "-C", temp.join("a"), "-cf", "-", "."])], temp.join("b"));
      deepEqual(treeBelow(temp.join("b")), treeBelow(temp.join("a")));
    },
  });
}

Deno.test({
  name: "GNU tar unpacks our archives to the same tree",
  ignore: !isRoot || !present.tar,
  fn: () => {
    using temp = TempDir.make();
    for (const name of ["a", "b"]) Deno.mkdirSync(temp.join(name));
    applyTar([sample()], temp.join("a"));
    applyTar(
      [tarOf(file("x", "y", { mtimeSec: 3, mtimeNsec: 7, ...xattrs({ "user.a": "1\n2\0" }) }))],
      temp.join("a"),
    );
    Deno.writeFileSync(temp.join("t"), concatenate(diffTar({ layers: [temp.join("a")], below: [] })));
    run("tar", [
      "--xattrs",
      "--xattrs-include=*",
      "--numeric-owner",
      "-p",
      "-C",
      temp.join("b"),
      "-xf",
      temp.join("t"),
    ]);
    deepEqual(treeBelow(temp.join("b")), treeBelow(temp.join("a")));
  },
});

for (const format of ["gnu", "posix"]) {
  Deno.test({
    name: `a sparse file of GNU tar's ${format} format is read completely`,
    ignore: !isRoot || !present.tar,
    fn: () => {
      using temp = TempDir.make();
      for (const name of ["a", "b"]) Deno.mkdirSync(temp.join(name));
      using sparse = Deno.openSync(temp.join("a/sparse"), { write: true, create: true });
      for (let i = 0; i < 60; i++) {
        sparse.seekSync(i * 200_000, Deno.SeekMode.Start);
        sparse.writeSync(new TextEncoder().encode(`at ${i}`));
      }
      sparse.truncateSync(13_000_000);
      const archive = run("tar", ["--sparse", "--format", format, "-C", temp.join("a"), "-cf", "-", "sparse"]);
      const { sizeBytes } = applyTar([archive], temp.join("b"));
      equal(sizeBytes, 13_000_000);
      deepEqual(Deno.readFileSync(temp.join("b/sparse")), Deno.readFileSync(temp.join("a/sparse")));
    },
  });
}

Deno.test({
  name: "Python reads our archives as we do",
  ignore: !present.python3,
  fn: () => {
    using temp = TempDir.make();
    const archive = sample();
    Deno.writeFileSync(temp.join("t"), archive);
    const script = "import sys, tarfile\n" +
      "for m in tarfile.open(sys.argv[1]): print(ascii(m.name.encode('utf8', 'surrogateescape')), m.uid, m.size, m.mode)";
    const lines = new TextDecoder().decode(run("python3", ["-c", script, temp.join("t")])).trim().split("\n");
    const shown = (name: Uint8Array) =>
      `b'${
        toByteString(name).replace(/\/$/, "").replace(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`)
      }'`;
    deepEqual(
      lines,
      entriesOf(archive).map(({ name, uid, sizeBytes, mode }) => `${shown(name)} ${uid} ${sizeBytes} ${mode}`),
    );
  },
});

Deno.test({
  name: "libarchive's archives with attributes unpack to the packed tree",
  ignore: !isRoot || !present.bsdtar,
  fn: () => {
    using temp = TempDir.make();
    for (const name of ["a", "b"]) Deno.mkdirSync(temp.join(name));
    applyTar(
      [tarOf(file("f", "x", { mtimeNsec: 7, ...xattrs({ "user.a": "1\n2\0" }) }), hardlink("h", "f"))],
      temp.join("a"),
    );
    applyTar([run("bsdtar", ["--format", "pax", "-C", temp.join("a"), "-cf", "-", "."])], temp.join("b"));
    deepEqual(treeBelow(temp.join("b")), treeBelow(temp.join("a")));
  },
});

import assert from "node:assert/strict";
import { readDirectory } from "../../ffi/dirent.ts";
import { isErrno } from "../../ffi/errno.ts";
import { AT, O, open, openat } from "../../ffi/fcntl.ts";
import { FsContext, MOUNT_ATTR, moveMount, OPEN_TREE, openTree } from "../../ffi/mount_api.ts";
import { makedev, mkdirat, mknodat, S, statat } from "../../ffi/sys_stat.ts";
import { FS_MAGIC, statfs } from "../../ffi/sys_statfs.ts";
import { MNT, mount, MOUNT_DATA_MAX, MS, umount2 } from "../../ffi/sys_mount.ts";
import { lgetxattr, lsetxattr } from "../../ffi/sys_xattr.ts";
import { symlinkat } from "../../ffi/unistd.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Unmounts every mount at a path, used or not. */
class Unmount implements Disposable {
  constructor(readonly path: string) {}
  [Symbol.dispose](): void {
    while (statat(AT.FDCWD, this.path).isMountRoot) umount2(this.path, MNT.DETACH);
  }
}

function mountPoint(temp: TempDir, name: string): Unmount {
  Deno.mkdirSync(temp.join(name));
  return new Unmount(temp.join(name));
}

/** Options of the topmost mount at a path: those of the mount and those of the super block. */
function mountOptions(path: string): string[] {
  const lines = Deno.readTextFileSync("/proc/self/mountinfo").split("\n").map((line) => line.split(" "));
  const fields = lines.findLast((line) => line[4] === path) ?? [];
  return [...(fields[5] ?? "").split(","), ...(fields.at(-1) ?? "").split(",")];
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

rootTest("a tmpfs is mounted with its options, busy while used, and unmounted", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  mount("none", at.path, "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, "size=1m,mode=0751");
  assert.equal(statfs(at.path).type, FS_MAGIC.tmpfs);
  assert.equal(statat(AT.FDCWD, at.path).mode, S.IFDIR | 0o751);
  assert.equal(statat(AT.FDCWD, at.path).isMountRoot, true);
  for (const option of ["nosuid", "nodev", "noexec", "size=1024k"]) {
    assert.ok(mountOptions(at.path).includes(option), option);
  }
  {
    using _file = open(`${at.path}/f`, O.CREAT | O.WRONLY);
    assert.throws(() => umount2(at.path, 0), { message: `Cannot umount "${at.path}": EBUSY` });
  }
  umount2(at.path, 0);
  assert.throws(() => umount2(at.path, 0), (e) => isErrno(e, "EINVAL"));
});

rootTest("a whole page of options reaches the file system", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  const options = "mode=0700,".repeat(408) + "mode=0000000711";
  assert.equal(options.length, MOUNT_DATA_MAX);
  mount("none", at.path, "tmpfs", 0, options);
  assert.equal(statat(AT.FDCWD, at.path).mode, S.IFDIR | 0o711);
});

rootTest("a failed mount reports why", () => {
  using temp = TempDir.make();
  assert.throws(() => mount("none", temp.path, "nosuchfs", 0), { message: `Cannot mount "${temp.path}": ENODEV` });
  assert.throws(() => mount("none", temp.join("none"), "tmpfs", 0), (e) => isErrno(e, "ENOENT"));
  assert.throws(() => mount("none", temp.path, "tmpfs", 0, "size=nonsense"), (e) => isErrno(e, "EINVAL"));
  assert.throws(() => mount("/dev/null", temp.path, "ext4", 0), (e) => isErrno(e, "ENOTBLK"));
});

rootTest("unmounting does not follow a link to another mount", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  using dir = open(temp.path, O.PATH);
  mount("none", at.path, "tmpfs", 0);
  symlinkat("m", dir, "link");
  assert.throws(() => umount2(temp.join("link"), 0), (e) => isErrno(e, "EINVAL"));
  assert.equal(statat(dir, "m").isMountRoot, true);
});

rootTest("a bind mount shows the directory, whose name is not UTF-8", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  using dir = open(temp.path, O.RDONLY);
  const source = new Uint8Array([...bytesOf(`${temp.path}/`), 0xff]);
  openat(dir, new Uint8Array([0xff]), O.CREAT | O.WRONLY)[Symbol.dispose]();
  Deno.mkdirSync(temp.join("source"));
  Deno.writeTextFileSync(temp.join("source/f"), "x");
  mount(temp.join("source"), at.path, null, MS.BIND);
  assert.equal(Deno.readTextFileSync(`${at.path}/f`), "x");
  mount(source, `${at.path}/f`, null, MS.BIND);
  assert.equal(Deno.readTextFileSync(`${at.path}/f`), "");
  umount2(`${at.path}/f`, 0);
});

rootTest("a mount made in steps exists before it is attached", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  using context = FsContext.open("tmpfs");
  context.setString("size", "1m").setString("mode", "0750").setFlag("noswap").create();
  using tree = context.mount(MOUNT_ATTR.NOEXEC | MOUNT_ATTR.NODEV);
  openat(tree, "f", O.CREAT | O.WRONLY)[Symbol.dispose]();
  assert.equal(statat(AT.FDCWD, at.path).isMountRoot, false);
  moveMount(tree, at.path);
  assert.equal(statat(AT.FDCWD, at.path).mode, S.IFDIR | 0o750);
  assert.equal(statat(AT.FDCWD, `${at.path}/f`).size, 0);
  for (const option of ["noexec", "nodev", "size=1024k"]) assert.ok(mountOptions(at.path).includes(option), option);
});

rootTest("a refused option is explained in the kernel's words", () => {
  using context = FsContext.open("tmpfs");
  assert.throws(() => context.setString("size", "nonsense"), {
    code: "EINVAL",
    message: /^Cannot fsconfig "tmpfs: size=nonsense": EINVAL \(e tmpfs: Bad value for 'size'\)$/,
  });
  assert.throws(() => context.setFlag("no-such-option"), /tmpfs: Unknown parameter 'no-such-option'/);
  assert.deepEqual(context.messages(), []);
  assert.throws(() => context.setString("mpol", "x".repeat(256)), (e) => isErrno(e, "EINVAL"));
  assert.throws(() => context.mount(), (e) => isErrno(e, "EINVAL", "EBUSY"));
  assert.throws(() => FsContext.open("nosuchfs"), { message: 'Cannot fsopen "nosuchfs": ENODEV' });
});

rootTest("an overlay of layers with unusual names is mounted layer by layer", () => {
  using temp = TempDir.make();
  const nonUtf8 = bytesOf(`${temp.path}/b,:=\\ `).map((byte) => byte === 0x20 ? 0xff : byte);
  Deno.mkdirSync(temp.join("a"));
  Deno.writeTextFileSync(temp.join("a/from-a"), "a");
  Deno.writeTextFileSync(temp.join("a/removed"), "a");
  using at = mountPoint(temp, "m");
  using dir = open(temp.path, O.RDONLY);
  const name = nonUtf8.subarray(temp.path.length + 1);
  mkdirat(dir, name, 0o755);
  using upper = openat(dir, name, O.PATH);
  mknodat(upper, "removed", S.IFCHR, makedev(0, 0));
  openat(upper, "from-b", O.CREAT | O.WRONLY)[Symbol.dispose]();

  using context = FsContext.open("overlay");
  try {
    context.setString("lowerdir+", nonUtf8).setString("lowerdir+", temp.join("a"));
  } catch (error) {
    if (!isErrno(error, "EINVAL")) throw error;
    console.log("skipped: overlay has no lowerdir+ before Linux 6.5");
    return;
  }
  context.create();
  using tree = context.mount(MOUNT_ATTR.RDONLY);
  moveMount(tree, at.path);
  assert.equal(statfs(at.path).type, FS_MAGIC.overlayfs);
  using merged = open(at.path, O.RDONLY);
  const names = [...readDirectory(merged)].map((entry) => new TextDecoder().decode(entry.name));
  assert.deepEqual(names.sort(), ["from-a", "from-b"]);
});

rootTest("overlay layers can be given as descriptors", () => {
  using temp = TempDir.make();
  for (const layer of ["a", "b"]) {
    Deno.mkdirSync(temp.join(layer));
    Deno.writeTextFileSync(temp.join(`${layer}/${layer}`), "");
  }
  using a = open(temp.join("a"), O.PATH);
  using b = open(temp.join("b"), O.PATH);
  using context = FsContext.open("overlay");
  try {
    context.setFd("lowerdir+", a).setFd("lowerdir+", b);
  } catch (error) {
    if (!isErrno(error, "EINVAL", "EBADF")) throw error;
    console.log("skipped: overlay takes no descriptors before Linux 6.13");
    return;
  }
  context.create();
  using tree = context.mount(MOUNT_ATTR.RDONLY);
  assert.equal(statat(tree, "a").size, 0);
  assert.equal(statat(tree, "b").size, 0);
});

rootTest("a detached copy of a mount shows its files after the mount was removed", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  mount("none", at.path, "tmpfs", 0);
  Deno.writeTextFileSync(`${at.path}/f`, "kept");
  using tree = openTree(AT.FDCWD, at.path, OPEN_TREE.CLONE);
  umount2(at.path, 0);
  assert.equal(statat(tree, "f").size, 4);
  assert.throws(() => statat(AT.FDCWD, `${at.path}/f`), (e) => isErrno(e, "ENOENT"));
});

rootTest("a value of 64 KiB, the maximum, is read completely", () => {
  using temp = TempDir.make();
  using at = mountPoint(temp, "m");
  mount("none", at.path, "tmpfs", 0);
  const value = new Uint8Array(65536).map((_, i) => i);
  lsetxattr(at.path, "trusted.v", value);
  assert.deepEqual(lgetxattr(at.path, "trusted.v"), value);
});

rootTest("mounts of a Worker in its own mount namespace are visible to it alone", async () => {
  using temp = TempDir.make();
  const url = (file: string) => JSON.stringify(new URL(`../../ffi/${file}`, import.meta.url).href);
  const source = `
    import { CLONE, unshare } from ${url("sched.ts")};
    import { mount, MS } from ${url("sys_mount.ts")};
    import { statfs } from ${url("sys_statfs.ts")};
    self.onmessage = ({ data: path }) => {
      unshare(CLONE.NEWNS);
      mount(null, "/", null, MS.REC | MS.PRIVATE);
      mount("none", path, "tmpfs", 0);
      self.postMessage(statfs(path).type);
    };`;
  const worker = new Worker(`data:application/typescript,${encodeURIComponent(source)}`, { type: "module" });
  try {
    const type = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage(temp.path);
    });
    assert.equal(type, FS_MAGIC.tmpfs);
    assert.equal(statat(AT.FDCWD, temp.path).isMountRoot, false);
  } finally {
    worker.terminate();
  }
});

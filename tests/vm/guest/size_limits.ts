/**
 * Size limits for containers, where the file system of TMPDIR has project quotas.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { projectOf, projectQuota } from "../../../ffi/sys_quota.ts";
import { statfs } from "../../../ffi/sys_statfs.ts";
import { fsync, write } from "../../../ffi/unistd.ts";
import { StoreHome } from "../../support/layer/store_home.ts";

const MIB = 2 ** 20;
const LIMIT_BYTES = 16 * MIB;
const MIXED_UP = 3 * MIB;

/** Writes a file until the disk is full or it has `most` bytes; returns its size. */
function fill(path: string, most: number): number {
  using file = open(path, O.CREAT | O.WRONLY, 0o600);
  const piece = new Uint8Array(MIB);
  let written = 0;
  try {
    while (written < most) written += write(file, piece);
    fsync(file);
  } catch (error) {
    if (!isErrno(error, "ENOSPC", "EDQUOT")) throw error;
  }
  return written;
}

/** Project id of a layer's files. */
function projectIn(home: StoreHome, id: string): number {
  using folder = open(`${home.path}/${id}/diff`, O.RDONLY | O.DIRECTORY);
  return projectOf(folder);
}

/** Limit of a project of the home's file system; undefined without a limit or a file. */
function limitOf(home: StoreHome, project: number): number | undefined {
  using folder = open(home.path, O.RDONLY | O.DIRECTORY);
  const quota = projectQuota(folder, project);
  return quota === undefined || quota.hardLimitBytes === 0 ? undefined : quota.hardLimitBytes;
}

async function container(home: StoreHome, id: string, size?: string): Promise<string> {
  const storageOptions = size === undefined ? {} : { size };
  await home.store.createReadWrite(`${id}-init`, { parent: "image", storageOptions });
  await home.store.createReadWrite(id, { parent: `${id}-init`, storageOptions });
  return await home.store.get(id);
}

async function end(home: StoreHome, id: string): Promise<void> {
  await home.store.put(id);
  for (const layer of [id, `${id}-init`]) await home.store.remove(layer);
}

Deno.test("a container's layer takes as much as its own size allows, independently of others", async () => {
  await using home = await StoreHome.make();
  await home.store.create("image");
  const [small, large, free] = [
    await container(home, "small", "16m"),
    await container(home, "large", "32 MiB"),
    await container(home, "free"),
  ];
  const within = (bytes: number, limit: number) =>
    ok(bytes <= limit && bytes > limit - MIXED_UP, `${bytes} of ${limit}`);
  within(fill(`${small}/file`, 64 * MIB), LIMIT_BYTES);
  within(fill(`${large}/file`, 64 * MIB), 2 * LIMIT_BYTES);
  equal(fill(`${free}/file`, 64 * MIB), 64 * MIB);
  const { blocks, blockSize } = statfs(small);
  equal(blocks * blockSize, LIMIT_BYTES, "df in the container shows its size");

  Deno.removeSync(`${small}/file`);
  Deno.mkdirSync(`${small}/folder`);
  Deno.writeTextFileSync(`${small}/folder/moved`, "text");
  Deno.renameSync(`${small}/folder`, `${small}/renamed`);
  Deno.linkSync(`${small}/renamed/moved`, `${small}/link`);
  within(fill(`${small}/renamed/file`, 64 * MIB), LIMIT_BYTES);
  for (const id of ["small", "large", "free"]) await end(home, id);
});

Deno.test("a removed container's layer releases its project, a half-removed one at the next start", async () => {
  await using home = await StoreHome.make();
  await home.store.create("image");
  for (const id of ["a", "b"]) await container(home, id, "16m");
  const [first, second] = [projectIn(home, "a"), projectIn(home, "b")];
  ok(first !== second && first !== 0 && second !== 0);
  deepEqual([limitOf(home, first), limitOf(home, second)], [LIMIT_BYTES, LIMIT_BYTES]);
  await end(home, "a");
  deepEqual([limitOf(home, first), limitOf(home, second)], [undefined, LIMIT_BYTES]);
  await home.store.put("b");
  Deno.renameSync(`${home.path}/b`, `${home.path}/.removing/b`);
  await home.reopen();
  equal(limitOf(home, second), undefined);
});

Deno.test("a container's layer without a size has the default, and a size of 0 means none", async () => {
  await using home = await StoreHome.make();
  await home.reopen({ limitBytes: LIMIT_BYTES });
  await home.store.create("image");
  await rejects(() => home.store.create("other", { storageOptions: { size: "1g" } }), { code: "usage" });
  for (const id of ["plain", "free", "own"]) {
    await container(home, id, { free: "0", own: "1m" }[id]);
  }
  const limits = ["image", "plain-init", "plain", "own"].map((id) => limitOf(home, projectIn(home, id)));
  deepEqual(limits, [undefined, undefined, LIMIT_BYTES, MIB]);
  equal(projectIn(home, "free"), 0);
  for (const id of ["plain", "free", "own"]) await end(home, id);
});

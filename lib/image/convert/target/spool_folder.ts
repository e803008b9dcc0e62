/**
 * A conversion's folder for temporary blob files: created on first use, removed with the conversion.
 *
 * A killed conversion leaves its folder, which may be as large as a layer. A lock marks folders in use; the next
 * conversion with the same parent removes abandoned ones.
 *
 * @module
 */
import { join } from "node:path";
import { LOCK } from "../../../../ffi/sys_file.ts";
import type { FileLock } from "../../../base/file_lock.ts";
import { lockFolder, removeUnlocked } from "../../../base/folder_lock.ts";

const PREFIX = "run-";

interface OwnFolder {
  readonly path: string;
  readonly lock: FileLock;
}

/** A private temporary folder below a shared parent. */
export class SpoolFolder implements AsyncDisposable {
  #own: Promise<OwnFolder> | undefined;

  /** @param parent may be shared with other conversions and need not exist */
  constructor(private readonly parent: string) {}

  /** Returns an unused path; its folder exists. @throws {SyscallError} and as Deno.mkdir */
  async newPath(): Promise<string> {
    const { path } = await (this.#own ??= makeOwn(this.parent));
    return join(path, `${crypto.randomUUID()}.part`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const own = await this.#own?.catch(() => undefined); // a failure was reported by newPath
    if (own === undefined) return;
    using _lock = own.lock;
    await Deno.remove(own.path, { recursive: true });
  }
}

/** While the parent is locked, no other process mistakes a new folder without a lock for an abandoned one. */
async function makeOwn(parent: string): Promise<OwnFolder> {
  await Deno.mkdir(parent, { recursive: true, mode: 0o700 });
  using _turn = lockFolder(parent, LOCK.EX);
  await removeAbandoned(parent);
  const path = await Deno.makeTempDir({ dir: parent, prefix: PREFIX });
  return { path, lock: lockFolder(path, LOCK.EX) };
}

async function removeAbandoned(parent: string): Promise<void> {
  for (const { name, isDirectory } of await Array.fromAsync(Deno.readDir(parent))) {
    if (isDirectory && name.startsWith(PREFIX)) await removeUnlocked(join(parent, name));
  }
}

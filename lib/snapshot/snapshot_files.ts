/**
 * The folders of snapshots: how they are created, deleted, and found after any kind of end.
 *
 * A snapshot is made aside and renamed to its place once all of it is on disk, and renamed away before it is deleted. So
 * whatever is in `snapshots` is whole, and whatever is elsewhere was never confirmed, or its removal was.
 *
 * @module
 */
import { hasCode, ignore, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { syncFolder } from "../base/durable.ts";
import { GoneLayers } from "../layer/remove/gone_layers.ts";
import type { ImageRoot } from "../layer/lazy/lazy_images.ts";
import { removeTree } from "../base/remove_tree.ts";
import { type DamagedSnapshot, type FoundSnapshots, snapshotProblems } from "./snapshot_damage.ts";
import { mountedUppers } from "./snapshot_images.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";
import { idOf, readRecord, type Snapshot, writeRecord } from "./snapshot_record.ts";

const log = logger("snapshot");

/** Root of a snapshot with nothing below. */
const PLAIN_ROOT: ImageRoot = { mode: 0o755, uid: 0, gid: 0 };

/** The folders of one store. */
export class SnapshotFiles {
  readonly #gone: GoneLayers;

  constructor(private readonly paths: SnapshotPaths) {
    this.#gone = new GoneLayers(paths);
  }

  /**
   * Creates the folder of a snapshot, durably. On failure nothing is left.
   *
   * Its root gets the permissions and the owner of the root below, because the root of an overlay is that of its topmost
   * folder.
   */
  async make(snapshot: Snapshot, parent: Snapshot | undefined): Promise<void> {
    const staging = this.paths.staging(snapshot.number);
    const { root } = this.paths.of(snapshot.number);
    try {
      await Deno.mkdir(staging.root, { mode: 0o700 });
      await Deno.mkdir(staging.fs, { mode: 0o755 });
      const { uid, gid, mode } = parent === undefined ? PLAIN_ROOT : await this.#rootOf(parent);
      await Deno.chown(staging.fs, uid, gid);
      await Deno.chmod(staging.fs, mode);
      if (snapshot.kind === "active") await Deno.mkdir(staging.work, { mode: 0o711 });
      await writeRecord(staging.record, snapshot);
      await Deno.rename(staging.root, root);
    } catch (error) {
      await clearAway(staging.root);
      throw error;
    }
    try {
      await syncFolder(this.paths.snapshots);
    } catch (error) {
      await clearAway(root);
      throw error;
    }
  }

  async #rootOf(parent: Snapshot): Promise<ImageRoot> {
    if (parent.layer?.bootstrap !== undefined) return parent.layer.bootstrap.root;
    const { mode, uid, gid } = await Deno.lstat(this.paths.of(parent.number).fs);
    return mode === null || uid === null || gid === null ? PLAIN_ROOT : { mode: mode & 0o7777, uid, gid };
  }

  /** Replaces the record, durably. */
  async write(snapshot: Snapshot): Promise<void> {
    await writeRecord(this.paths.of(snapshot.number).record, snapshot);
  }

  /**
   * Renames the folder away, durably: the snapshot is gone then. Returns what deletes it. A folder that is missing, since
   * somebody deleted it or an earlier attempt could not sync, is as good as renamed.
   */
  async takeAway(snapshot: Snapshot): Promise<() => Promise<void>> {
    const { root } = this.paths.of(snapshot.number);
    const isThere = await ignore(Deno.errors.NotFound, Deno.lstat(root)) !== undefined;
    const away = isThere ? await this.#gone.takeAway(root, idOf(snapshot)) : undefined;
    await syncFolder(this.paths.snapshots);
    return async () => {
      if (away !== undefined) await this.#gone.delete(away);
    };
  }

  /** Tries again to delete what could not be deleted. */
  async deleteRest(): Promise<void> {
    await this.#gone.deleteRest();
  }

  /** Creates the store's own folders, deletes unfinished work, and returns all snapshots. Logs those that are damaged. */
  async recover(): Promise<FoundSnapshots> {
    const { snapshots, making, removing } = this.paths;
    for (const folder of [snapshots, making, removing]) await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    for (const folder of [making, removing]) {
      for (const { name } of [...Deno.readDirSync(folder)]) await deleteLeftOver(`${folder}/${name}`);
    }
    const found = await readSnapshots(this.paths);
    for (const { message, remedy } of snapshotProblems(found, this.paths, mountedUppers())) {
      log.error(message, { remedy });
    }
    return found;
  }
}

async function clearAway(folder: string): Promise<void> {
  try {
    await ignore(Deno.errors.NotFound, Deno.remove(folder, { recursive: true }));
  } catch (error) {
    log.warn("incomplete snapshot is left for the next start", { path: folder, reason: messageOf(error) });
  }
}

async function deleteLeftOver(path: string): Promise<void> {
  try {
    await removeTree(path);
  } catch (error) {
    log.warn("cannot delete what was left behind", { path, reason: messageOf(error) });
  }
}

/** Numbers of all folders, of damaged snapshots as well. */
export async function numbersInUse(paths: SnapshotPaths): Promise<number[]> {
  const list = Promise.resolve().then(() => [...Deno.readDirSync(paths.snapshots)]);
  const names = (await ignore(Deno.errors.NotFound, list) ?? []).map(({ name }) => name);
  const numbers = names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(Number).filter(Number.isSafeInteger);
  return numbers.sort((a, b) => a - b);
}

/** Reads all records. A damaged one is left in place: it must not prevent serving the others. */
export async function readSnapshots(paths: SnapshotPaths): Promise<FoundSnapshots> {
  const snapshots: Snapshot[] = [];
  const damaged: DamagedSnapshot[] = [];
  for (const number of await numbersInUse(paths)) {
    try {
      const snapshot = await readRecord(paths, number);
      if (snapshot !== undefined) snapshots.push(snapshot);
    } catch (error) {
      if (!hasCode(error, "corrupt")) throw error;
      damaged.push({ number, reason: error.message });
    }
  }
  return { snapshots, damaged };
}

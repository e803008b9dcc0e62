/**
 * The folders of snapshots: how they are created, deleted, and found after any kind of end.
 *
 * A snapshot is made aside and renamed to its place once all of it is on disk, and renamed away before it is deleted. So
 * whatever is in `snapshots` is whole, and whatever is elsewhere was never confirmed, or its removal was.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { syncFolder } from "../layer/durable.ts";
import { GoneLayers } from "../layer/gone_layers.ts";
import type { ImageRoot } from "../layer/lazy_images.ts";
import { removeTree } from "../layer/remove_tree.ts";
import { idOf, readRecord, type Snapshot, writeRecord } from "./snapshot_record.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";

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
    try {
      await Deno.mkdir(staging.root, { mode: 0o700 });
      await Deno.mkdir(staging.fs, { mode: 0o755 });
      const root = parent === undefined ? PLAIN_ROOT : await this.#rootOf(parent);
      await Deno.chown(staging.fs, root.uid, root.gid);
      await Deno.chmod(staging.fs, root.mode);
      if (snapshot.kind === "active") await Deno.mkdir(staging.work, { mode: 0o711 });
      await writeRecord(staging.record, snapshot);
      await Deno.rename(staging.root, this.paths.of(snapshot.number).root);
      await syncFolder(this.paths.snapshots);
    } catch (error) {
      await this.#clearAway(snapshot);
      throw error;
    }
  }

  async #rootOf(parent: Snapshot): Promise<ImageRoot> {
    if (parent.layer?.bootstrap !== undefined) return parent.layer.bootstrap.root;
    const { mode, uid, gid } = await Deno.lstat(this.paths.of(parent.number).fs);
    return mode === null || uid === null || gid === null ? PLAIN_ROOT : { mode: mode & 0o7777, uid, gid };
  }

  async #clearAway({ number }: Snapshot): Promise<void> {
    try {
      await ignore(Deno.errors.NotFound, Deno.remove(this.paths.staging(number).root, { recursive: true }));
      await ignore(Deno.errors.NotFound, Deno.remove(this.paths.of(number).root, { recursive: true }));
    } catch (error) {
      log.warn("incomplete snapshot is left for the next start", { number, reason: messageOf(error) });
    }
  }

  /** Replaces the record, durably. */
  async write(snapshot: Snapshot): Promise<void> {
    await writeRecord(this.paths.of(snapshot.number).record, snapshot);
  }

  /** Renames the folder away, durably: the snapshot is gone then. Returns what deletes it. */
  async takeAway(snapshot: Snapshot): Promise<() => Promise<void>> {
    const away = await this.#gone.takeAway(this.paths.of(snapshot.number).root, idOf(snapshot));
    await syncFolder(this.paths.snapshots);
    return () => this.#gone.delete(away);
  }

  /** Tries again to delete what could not be deleted. */
  async deleteRest(): Promise<void> {
    await this.#gone.deleteRest();
  }

  /** Creates the store's own folders, deletes unfinished work, and returns all snapshots. */
  async recover(): Promise<Snapshot[]> {
    const { snapshots, making, removing } = this.paths;
    for (const folder of [snapshots, making, removing]) await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    for (const folder of [making, removing]) {
      for (const { name } of [...Deno.readDirSync(folder)]) await deleteLeftOver(`${folder}/${name}`);
    }
    return await readSnapshots(this.paths);
  }
}

async function deleteLeftOver(path: string): Promise<void> {
  try {
    await removeTree(path);
  } catch (error) {
    log.warn("cannot delete what was left behind", { path, reason: messageOf(error) });
  }
}

/** Reads all records. A damaged one is logged and left in place: it must not prevent serving the others. */
export async function readSnapshots(paths: SnapshotPaths): Promise<Snapshot[]> {
  const list = Promise.resolve().then(() => [...Deno.readDirSync(paths.snapshots)]);
  const found: Snapshot[] = [];
  for (const { name } of await ignore(Deno.errors.NotFound, list) ?? []) {
    if (!/^[1-9][0-9]*$/.test(name)) continue;
    try {
      const snapshot = await readRecord(paths, Number(name));
      if (snapshot !== undefined) found.push(snapshot);
    } catch (error) {
      if (!(error instanceof NydusGdError)) throw error;
      log.error("damaged snapshot is ignored", { number: Number(name), reason: error.message });
    }
  }
  return found.sort((a, b) => a.number - b.number);
}

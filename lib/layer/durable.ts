/**
 * Making changes survive a power cut.
 *
 * A file's content is on disk after {@link writeDurably}, a name after {@link syncFolder} of the folder that holds it,
 * a whole unpacked layer after {@link syncFileSystem}. Nothing here blocks the calling thread.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { O, open as openFd } from "../../ffi/fcntl.ts";
import { syncfsOffThread } from "../../ffi/unistd.ts";

/** Names that were added to or removed from `folder` are on disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates or replaces a small file; its content is on disk, its name when the folder is synced. Mode 0600. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

interface Round {
  readonly done: Promise<void>;
  /** The round that begins when this one ends, when somebody waits for it. */
  next: Promise<void> | undefined;
}

const rounds = new Map<string, Round>();

/**
 * Everything that was written to the file system of `path` before this call is on disk.
 *
 * Callers that come while a sync of the same path runs share the one after it: many layers at once cost two syncs.
 */
export function syncFileSystem(path: string): Promise<void> {
  const running = rounds.get(path);
  if (running === undefined) return begin(path);
  running.next ??= running.done.then(() => begin(path), () => begin(path));
  return running.next;
}

function begin(path: string): Promise<void> {
  const done = syncOnce(path);
  const round: Round = { done, next: undefined };
  rounds.set(path, round);
  const end = () => {
    if (rounds.get(path) === round && round.next === undefined) rounds.delete(path);
  };
  done.then(end, end);
  return done;
}

async function syncOnce(path: string): Promise<void> {
  using fd = openFd(path, O.RDONLY | O.DIRECTORY);
  await syncfsOffThread(fd);
}

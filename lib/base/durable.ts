/**
 * Makes changes durable, so that they survive a power cut.
 *
 * A file's content is on disk after {@link writeDurably}, a name after {@link syncFolder} of its folder, a whole
 * unpacked layer after {@link syncFileSystem}. None of these block the calling thread.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { O, open as openFd } from "../../ffi/fcntl.ts";
import { syncfsOffThread } from "../../ffi/unistd.ts";

/** Syncs names added to or removed from `folder` to disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Creates or replaces a small file with mode 0600. Its content is on disk then; its name needs a sync of the folder.
 */
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
  /** The sync to run after the current one, if anybody waits for it. */
  next: Promise<void> | undefined;
}

const rounds = new Map<string, Round>();

/**
 * Syncs everything written to the file system of `path` before this call.
 *
 * Callers that arrive during a sync of the same path share the next one, so many concurrent layers cost two syncs.
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

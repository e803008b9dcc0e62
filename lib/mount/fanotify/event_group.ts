/**
 * A group of fanotify and the file for its events: what has to outlive a process for its successor to answer them.
 *
 * @module
 */
import { fanotifyInit } from "../../../ffi/fanotify.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { Keeper } from "../keeper/keeper.ts";
import { EventFile } from "./event_file.ts";

/** Names of the descriptors that the keeper holds: the group, and the event file. */
const KEPT = { group: "fanotify", events: "fanotify-events" } as const;

/** A group, and the file for its events. */
export interface EventGroup {
  readonly group: Fd;
  readonly events: EventFile;
}

/**
 * Creates a group without marks.
 *
 * @throws {SyscallError} EINVAL on kernels without pre-content events
 */
export function newGroup(): EventGroup {
  using cleanup = new DisposableStack();
  const made = { group: cleanup.use(fanotifyInit()), events: EventFile.create() };
  cleanup.move();
  return made;
}

/**
 * Returns what a predecessor's keeper at `record` holds; undefined if there is none. After a failure this process holds
 * nothing either: a group whose events nobody answers would have programs wait forever.
 *
 * @throws {NydusGdError} "unsupported" if another version laid out the events
 */
export async function takeKept(record: string): Promise<EventGroup | undefined> {
  using cleanup = new DisposableStack();
  const kept = await Keeper.take(record);
  for (const fd of kept?.values() ?? []) cleanup.use(fd);
  const group = kept?.get(KEPT.group), events = kept?.get(KEPT.events);
  if (group === undefined || events === undefined) return undefined;
  const taken = { group, events: EventFile.reopen(events) };
  cleanup.move();
  return taken;
}

/** Returns what a keeper has to hold for {@link takeKept}. */
export function keptOf({ group, events }: EventGroup): ReadonlyMap<string, Fd> {
  return new Map([[KEPT.group, group], [KEPT.events, events.fd]]);
}

/**
 * What keeps descriptors open if this program and all its children are killed at once, as when its unit is stopped.
 *
 * A keeper is an ordinary process: whatever kills the whole unit (`systemctl kill`, the OOM killer) kills it, too. A
 * data path that shows zeros once all holders are gone is safe only if somebody outside the unit holds the descriptors:
 * the service manager's descriptor store.
 *
 * Source: sd_notify(3), systemd.exec(5). systemd 254 and later set FDSTORE if FileDescriptorStoreMax= is not 0; a unit
 * for an older systemd sets it itself with Environment=FDSTORE=.
 *
 * @module
 */

import { hasServiceManager } from "../../../ffi/libsystemd.ts";

/**
 * Number of stored descriptors: the FUSE session with its clones (at most 16) and its requests, the fanotify group with
 * its events, the snapshotter's socket.
 */
export const STORED_DESCRIPTORS = 20;

/** Why descriptors survive the unit, or what is missing for that. */
export type Guard = { readonly isStrong: true; readonly what: string } | {
  readonly isStrong: false;
  readonly why: string;
};

/** Whether a service manager passes descriptors of this process on to the next one of its unit. */
export function hasDescriptorStore(): boolean {
  return hasServiceManager() && storeRoom() > 0;
}

/** Number of descriptors that the unit stores. */
function storeRoom(): number {
  return Number(Deno.env.get("FDSTORE") ?? 0);
}

/** Determines what guards the descriptors of this process. */
export function guardOf(): Guard {
  const why = (state: string): Guard => ({ isStrong: false, why: state });
  if (!hasServiceManager()) return why("no service manager keeps descriptors of this program");
  const room = storeRoom();
  if (room >= STORED_DESCRIPTORS) return { isStrong: true, what: "the service manager keeps descriptors" };
  return why(`the unit stores ${room} descriptors, ${STORED_DESCRIPTORS} are needed (FileDescriptorStoreMax=)`);
}

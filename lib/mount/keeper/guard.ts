/**
 * Who keeps descriptors when this program and all that it started are killed at once, as by the end of its unit.
 *
 * A keeper is a process like others: what ends the whole unit (`systemctl kill`, the out-of-memory killer) ends it too.
 * A data path that shows zeros when every holder is gone is safe only where somebody outside of the unit holds on:
 * the service manager's descriptor store.
 *
 * Source: sd_notify(3), systemd.exec(5): FDSTORE is set by systemd 254 where FileDescriptorStoreMax= is not 0. A unit for
 * an older one says so itself, by Environment=FDSTORE=.
 *
 * @module
 */

import { hasServiceManager } from "../../../ffi/libsystemd.ts";

/** Descriptors that are stored: the FUSE session with its clones (at most 16), the fanotify group. */
export const STORED_DESCRIPTORS = 18;

/** Why descriptors survive the unit, or what would make them. */
export type Guard = { readonly isStrong: true; readonly what: string } | {
  readonly isStrong: false;
  readonly why: string;
};

/** What guards descriptors of this process. */
export function guardOf(env: Readonly<Record<string, string>> = Deno.env.toObject()): Guard {
  const why = (state: string): Guard => ({ isStrong: false, why: state });
  if (!hasServiceManager()) return why("no service manager keeps descriptors of this program");
  const room = Number(env["FDSTORE"] ?? 0);
  if (room >= STORED_DESCRIPTORS) return { isStrong: true, what: "the service manager keeps descriptors" };
  return why(`the unit stores ${room} descriptors, ${STORED_DESCRIPTORS} are needed (FileDescriptorStoreMax=)`);
}

/**
 * Communication with the service manager: readiness, and descriptors that it keeps across a restart. Does nothing
 * without systemd.
 *
 * ```
 * FDSTORE=1 FDNAME=x + the descriptor ──► NOTIFY_SOCKET           a copy is kept
 *    ✝ the program, however it ended
 * LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES ◄── the next start       descriptors from 3 on, by name
 * ```
 *
 * Source: sd_notify(3), sd_listen_fds(3), sd_pid_notify_with_fds(3), systemd 252.
 *
 * @module
 */
import { Fd } from "./fd.ts";
import { cstring, load, MissingLibraryError } from "./libc.ts";

const libsystemd = load("libsystemd.so.0", "libsystemd0", {
  sd_notify: { parameters: ["i32", "buffer"], result: "i32" }, // int sd_notify(int unset_environment, const char *state)
  // int sd_pid_notify_with_fds(pid_t pid, int unset_environment, const char *state, const int *fds, unsigned n_fds)
  sd_pid_notify_with_fds: { parameters: ["i32", "i32", "buffer", "buffer", "u32"], result: "i32" },
});

/** SD_LISTEN_FDS_START: number of the first passed descriptor. */
const LISTEN_FDS_START = 3;

/** Whether a service manager is present and libsystemd can be loaded. */
export function hasServiceManager(): boolean {
  if (Deno.env.get("NOTIFY_SOCKET") === undefined) return false;
  try {
    libsystemd();
    return true;
  } catch (error) {
    if (error instanceof MissingLibraryError) return false;
    throw error;
  }
}

/** Sends READY=1 if the program was started with NOTIFY_SOCKET. */
export function notifyReady(): void {
  if (hasServiceManager()) libsystemd().sd_notify(0, cstring("READY=1"));
}

/**
 * Asks the service manager to keep a copy of a descriptor. A descriptor that it already has is not stored twice.
 *
 * @param name of at most 255 printable ASCII characters, without colon
 * @returns false when it was not sent. The service manager silently drops descriptors beyond the unit's limit
 */
export function storeDescriptor(name: string, fd: Fd): boolean {
  if (!hasServiceManager()) return false;
  const state = cstring(`FDSTORE=1\nFDNAME=${name}`);
  const fds = new Uint8Array(Int32Array.of(fd.raw).buffer);
  return libsystemd().sd_pid_notify_with_fds(0, 0, state, fds, 1) > 0;
}

/** Makes the service manager close every copy stored under this name. */
export function removeStoredDescriptor(name: string): void {
  if (hasServiceManager()) libsystemd().sd_notify(0, cstring(`FDSTOREREMOVE=1\nFDNAME=${name}`));
}

let inherited: ReadonlyMap<string, Fd> | undefined;

/**
 * Descriptors by name that the service manager passed to this process at start; they stay open. The first call marks
 * them close-on-exec, so make it before starting other programs.
 */
export function inheritedDescriptors(): ReadonlyMap<string, Fd> {
  return inherited ??= claimInherited(Deno.env.toObject(), Deno.pid);
}

/** Descriptors that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES assign to the process `pid`. */
export function claimInherited(env: Readonly<Record<string, string>>, pid: number): Map<string, Fd> {
  const claimed = new Map<string, Fd>();
  if (Number(env["LISTEN_PID"]) !== pid) return claimed;
  const names = (env["LISTEN_FDNAMES"] ?? "").split(":");
  for (let i = 0; i < Number(env["LISTEN_FDS"] ?? 0); i++) {
    const fd = Fd.own(LISTEN_FDS_START + i);
    fd.setCloseOnExec(true);
    claimed.set(names[i] ?? "unknown", fd);
  }
  return claimed;
}

/**
 * What a program says to the service manager, and what it gets back: readiness, and descriptors that it keeps over a
 * restart. Does nothing where there is no systemd.
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

/** SD_LISTEN_FDS_START: the first descriptor that is handed over. */
const LISTEN_FDS_START = 3;

/** Whether there is a service manager to speak to, and the library to do so. */
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

/** Sends READY=1 when the program was started with NOTIFY_SOCKET. */
export function notifyReady(): void {
  if (hasServiceManager()) libsystemd().sd_notify(0, cstring("READY=1"));
}

/**
 * Has the service manager keep a copy of a descriptor; one that it has already is not kept twice.
 *
 * @param name of at most 255 printable ASCII characters, no colon
 * @returns false where it was not sent. What the unit has no room for is dropped without a word
 */
export function storeDescriptor(name: string, fd: Fd): boolean {
  if (!hasServiceManager()) return false;
  const state = cstring(`FDSTORE=1\nFDNAME=${name}`);
  const fds = new Uint8Array(Int32Array.of(fd.raw).buffer);
  return libsystemd().sd_pid_notify_with_fds(0, 0, state, fds, 1) > 0;
}

/** Has the service manager close every copy under this name. */
export function removeStoredDescriptor(name: string): void {
  if (hasServiceManager()) libsystemd().sd_notify(0, cstring(`FDSTOREREMOVE=1\nFDNAME=${name}`));
}

let inherited: ReadonlyMap<string, Fd> | undefined;

/**
 * Descriptors that the service manager handed to this process when it started it, by name; they stay open. The first
 * call makes them close-on-exec: to be made before another program is started.
 */
export function inheritedDescriptors(): ReadonlyMap<string, Fd> {
  return inherited ??= claimInherited(Deno.env.toObject(), Deno.pid);
}

/** What LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say to the process `pid`. */
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

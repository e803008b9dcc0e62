/**
 * sd_notify: tells the service manager that the program is ready. Does nothing where there is no systemd.
 *
 * Source: sd_notify(3), systemd 252.
 *
 * @module
 */
import { cstring, load, MissingLibraryError } from "./libc.ts";

const libsystemd = load("libsystemd.so.0", "libsystemd0", {
  sd_notify: { parameters: ["i32", "buffer"], result: "i32" }, // int sd_notify(int unset_environment, const char *state)
});

/** Sends READY=1 when the program was started with NOTIFY_SOCKET. */
export function notifyReady(): void {
  if (Deno.env.get("NOTIFY_SOCKET") === undefined) return;
  try {
    libsystemd().sd_notify(0, cstring("READY=1"));
  } catch (error) {
    if (!(error instanceof MissingLibraryError)) throw error;
  }
}

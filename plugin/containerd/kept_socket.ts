/**
 * The snapshotter's listening socket, which outlives the daemon: clients that connect while no daemon runs wait for the
 * next one.
 *
 * ```
 * daemon ── listens ──► socket ── FDSTORE ──► descriptor store of the unit (ffi/libsystemd.ts)
 *    ✝ kill -9, restart, upgrade                 clients connect, and wait in the backlog
 * next daemon ◄── accepts them ── LISTEN_FDS ──┘
 * ```
 * Only the service manager knows whether there will be a next daemon, so nobody else keeps the socket: it closes its copy
 * if the unit is stopped for good, and clients are refused at once. Without a service manager, the socket ends with the
 * daemon.
 *
 * The descriptor is stored under the device and inode number of the socket's file, so it is used only if that is still
 * the file to which clients connect. The inode is not given to another file as long as the descriptor is open.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { inheritedDescriptors, removeStoredDescriptor, storeDescriptor } from "../../ffi/libsystemd.ts";
import { listenUnix } from "../../ffi/sys_socket.ts";
import { ignore } from "../../lib/base/errors.ts";
import { hasDescriptorStore } from "../../lib/mount/keeper/guard.ts";
import { placeSocket, requireFreeSocket } from "../sockets/placed_socket.ts";
import { STORED_PREFIX, takeGreeted } from "./greeter.ts";

/** A listening socket. */
export class KeptSocket {
  private constructor(readonly fd: Fd, private readonly remove: () => Promise<void>) {}

  /** Takes back the socket at `path` that was kept; undefined if there is none. Every other one is given up. */
  static async takeBack(path: string | undefined): Promise<KeptSocket | undefined> {
    const kept = takeStored(path === undefined ? undefined : await storedName(path));
    return kept && new KeptSocket(kept, leave);
  }

  /**
   * Listens at `path` with mode 0600. Creates the folder if it is missing.
   *
   * @param option command-line option of the path, for hints
   * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
   */
  static async listen(path: string, option: string): Promise<KeptSocket> {
    await requireFreeSocket(path, option);
    const { listener, remove } = await placeSocket(path, listenUnix);
    const name = hasDescriptorStore() ? await storedName(path) : undefined;
    const isStored = name !== undefined && storeDescriptor(name, listener);
    return new KeptSocket(listener, isStored ? leave : remove);
  }

  /** Stops listening; if the socket is not kept, it is removed. */
  async close(): Promise<void> {
    if (this.fd.closed) return;
    await this.remove();
    this.fd[Symbol.dispose]();
  }
}

async function leave(): Promise<void> {}

/** Name under which the socket at `path` is stored; undefined if there is none. */
async function storedName(path: string): Promise<string | undefined> {
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
  return info?.isSocket ? `${STORED_PREFIX}${info.dev}-${info.ino}` : undefined;
}

/** Returns the descriptor that was stored as `name`, if there is one, and gives up all others. */
function takeStored(name: string | undefined): Fd | undefined {
  const sockets = [...inheritedDescriptors()].filter(([stored, fd]) => stored.startsWith(STORED_PREFIX) && !fd.closed);
  for (const [stored, fd] of sockets) {
    if (stored === name) continue;
    removeStoredDescriptor(stored);
    for (const connection of takeGreeted(fd)) connection[Symbol.dispose]();
    fd[Symbol.dispose]();
  }
  return sockets.find(([stored]) => stored === name)?.[1];
}

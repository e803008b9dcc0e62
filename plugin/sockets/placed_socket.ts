/**
 * Sockets that only their owner can reach, placed atomically.
 *
 * A socket is created in a private folder next to its path, gets its mode, and is renamed over the path. So it is never
 * reachable with another mode, and a stale socket is replaced atomically. A socket that accepts connections belongs to
 * another process and is left alone.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { MAX_SOCKET_PATH_BYTES } from "../../ffi/sys_socket.ts";
import { ignore, NydusGdError } from "../../lib/base/errors.ts";

/** A socket in its place. */
export interface PlacedSocket<T> {
  /** What listens on it. */
  readonly listener: T;
  /** Removes it, unless another socket has taken its place. */
  remove(): Promise<void>;
}

/**
 * Checks that nobody serves `path`, and creates its folder if it is missing.
 *
 * @param option command-line option of the path, for hints
 * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
 */
export async function requireFreeSocket(path: string, option: string): Promise<void> {
  if (new TextEncoder().encode(path).length > MAX_SOCKET_PATH_BYTES) {
    throw new NydusGdError("usage", `Cannot listen on "${path}": name exceeds ${MAX_SOCKET_PATH_BYTES} bytes`);
  }
  await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
  if (info === undefined) return;
  if (!info.isSocket) {
    throw new NydusGdError("usage", `Cannot listen on "${path}": a file that is not a socket is there`);
  }
  const connection = await ignore(
    [Deno.errors.ConnectionRefused, Deno.errors.NotFound],
    Deno.connect({ transport: "unix", path }),
  );
  if (connection === undefined) return;
  connection.close();
  throw new NydusGdError("busy", `Cannot listen on "${path}": another process serves it`, {
    hint: `stop it (systemctl stop nydus-gd), or choose another ${option}`,
  });
}

/**
 * Places a socket with mode 0600 at `path`.
 *
 * @param listen creates it at the path that it is given
 */
export async function placeSocket<T>(
  path: string,
  listen: (early: string) => T | Promise<T>,
): Promise<PlacedSocket<T>> {
  const folder = await makePrivateFolder(dirname(path), basename(path).length);
  const early = join(folder, "s");
  try {
    const listener = await listen(early);
    await Deno.chmod(early, 0o600);
    const { ino } = await Deno.lstat(early);
    await Deno.rename(early, path);
    return { listener, remove: () => removeSocket(path, ino) };
  } catch (error) {
    await ignore(Deno.errors.NotFound, Deno.remove(early));
    throw error;
  } finally {
    await Deno.remove(folder);
  }
}

/** @param inode of the socket; another one at the same path must not be removed */
async function removeSocket(path: string, inode: number | null): Promise<void> {
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
  if (info?.isSocket && info.ino === inode) await ignore(Deno.errors.NotFound, Deno.remove(path));
}

/**
 * Makes a folder of mode 0700 with a name so short that the socket's path in it is, if possible, no longer than the
 * final one.
 */
async function makePrivateFolder(parent: string, nameLength: number): Promise<string> {
  const random = crypto.randomUUID().replaceAll("-", "");
  const folder = join(parent, `.${random.slice(0, Math.min(12, Math.max(4, nameLength - 3)))}`);
  await Deno.mkdir(folder, { mode: 0o700 });
  return folder;
}

/**
 * Paths and file names as the kernel has them: bytes, of which only "/" and NUL have a meaning.
 *
 * @module
 */

/** "/", which separates the names of a path. */
export const SLASH = 0x2f;

export const DOT = 0x2e;

/** The names by which a folder lists itself and its parent. */
export const OWN_NAME = Uint8Array.of(DOT), PARENT_NAME = Uint8Array.of(DOT, DOT);

/** Whether a name is "." or "..". */
export function isDots(name: Uint8Array): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}

/** Whether `bytes[start, end)` has a byte that no name can contain. */
export function hasSlashOrNul(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === SLASH || bytes[i] === 0) return true;
  return false;
}

/** Returns the path of `name` in a folder: "/" and "usr" are "/usr", "/usr" and "bin" are "/usr/bin". */
export function joinPath(folder: Uint8Array, name: Uint8Array): Uint8Array<ArrayBuffer> {
  const start = folder.at(-1) === SLASH ? folder.length : folder.length + 1;
  const path = new Uint8Array(start + name.length);
  path.set(folder);
  path[start - 1] = SLASH;
  path.set(name, start);
  return path;
}

/**
 * Programs of a test in PATH.
 *
 * @module
 */

/**
 * `using _programs = inPath(folder);` puts the folder before all others while it is in scope. Tests that run in parallel
 * share the variable, so each adds and removes only its own part.
 */
export function inPath(folder: string): Disposable {
  changePath((others) => [folder, ...others], folder);
  return { [Symbol.dispose]: () => changePath((others) => others, folder) };
}

/** One thread at a time, by a lock on this file: others would lose what is set between their reading and writing. */
function changePath(change: (others: readonly string[]) => readonly string[], folder: string): void {
  using file = Deno.openSync(new URL(import.meta.url));
  file.lockSync(true);
  const others = (Deno.env.get("PATH") ?? "").split(":").filter((part) => part !== folder);
  Deno.env.set("PATH", change(others).join(":"));
}

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
  const others = () => (Deno.env.get("PATH") ?? "").split(":").filter((part) => part !== folder);
  Deno.env.set("PATH", [folder, ...others()].join(":"));
  return { [Symbol.dispose]: () => Deno.env.set("PATH", others().join(":")) };
}

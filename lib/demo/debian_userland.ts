/**
 * Packs a small Debian userland for an image: the essential packages of this machine and their dependencies.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";

/** Directory of dpkg's file lists. */
const LISTS = "/var/lib/dpkg/info";

/**
 * Writes the userland as a tar.
 *
 * @param tarPath the file to write
 * @param more further installed packages to include, with their dependencies
 * @returns the names of the packages
 * @throws {NydusGdError} "environment" when dpkg is missing
 */
export async function writeUserland(
  tarPath: string,
  scratch: string,
  more: readonly string[] = [],
): Promise<string[]> {
  const packages = await essentialPackages(more);
  const paths = new Set<string>();
  for (const name of packages) {
    for (const path of await filesOf(name)) paths.add(path);
  }
  const listPath = join(scratch, "userland.list");
  await Deno.writeTextFile(listPath, [...paths].sort().map((path) => `.${path}\0`).join(""));
  await output("tar", [
    "--create",
    `--file=${tarPath}`,
    "--directory=/",
    "--format=posix",
    "--numeric-owner",
    "--no-recursion",
    "--null",
    `--files-from=${listPath}`,
  ]);
  return packages;
}

/** Returns the essential packages and `more`, with all transitive dependencies. */
async function essentialPackages(more: readonly string[]): Promise<string[]> {
  const format = "${binary:Package}\\t${Package}\\t${Essential}\\t${Priority}\\t${Pre-Depends}, ${Depends}\\n";
  const text = await output("dpkg-query", ["--show", `--showformat=${format}`]);
  const installed = new Map<string, { readonly id: string; readonly depends: string }>();
  const wanted = new Set<string>(more);
  for (const line of text.trim().split("\n")) {
    const [id = "", name = "", essential, priority, depends = ""] = line.split("\t");
    installed.set(name, { id, depends });
    if (essential === "yes" || priority === "required") wanted.add(name);
  }
  // Iterating a set also visits elements added during the iteration.
  for (const name of wanted) {
    for (const alternatives of installed.get(name)?.depends.split(",") ?? []) {
      const found = alternatives.split("|").map(nameOfDependency).find((each) => installed.has(each));
      if (found !== undefined) wanted.add(found);
    }
  }
  return [...wanted].flatMap((name) => installed.get(name)?.id ?? []);
}

/** Returns "libc6" for " libc6:any (>= 2.36)". */
function nameOfDependency(dependency: string): string {
  return dependency.trim().replace(/[ (:].*/, "");
}

/** Existing paths of a package, resolved: a package may list /bin/ls where /bin is a link to usr/bin. */
async function filesOf(name: string): Promise<string[]> {
  const list = await ignore(Deno.errors.NotFound, Deno.readTextFile(`${LISTS}/${name}.list`)) ??
    await Deno.readTextFile(`${LISTS}/${name.replace(/:.*/, "")}.list`);
  const found: string[] = [];
  for (const path of list.split("\n")) {
    if (!path.startsWith("/") || path === "/.") continue;
    const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.lstat(path));
    if (info === undefined) continue;
    if (info.isSymlink && dirname(path) === "/") found.push(path);
    found.push(await canonical(path));
  }
  return found;
}

/** Resolves links in all but the last component. */
async function canonical(path: string): Promise<string> {
  const parent = await Deno.realPath(dirname(path));
  return join(parent, path.slice(path.lastIndexOf("/") + 1));
}

async function output(program: string, args: string[]): Promise<string> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(program, { args, stdout: "piped", stderr: "piped" })
      .output();
    if (code === 0) return new TextDecoder().decode(stdout);
    const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
    throw new NydusGdError("environment", `Cannot run ${program}: ${said}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NydusGdError("environment", `Cannot run ${program}: ${messageOf(error)}`, {
      hint: "the demonstration is made of the packages of a Debian machine",
    });
  }
}

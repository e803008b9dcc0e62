/**
 * The programs of this machine that a demonstration or a test runs.
 *
 * @module
 */

/** Folders of programs. dockerd and containerd need iptables and runc, which may not be on a user's PATH. */
export const PROGRAM_PATH = `${
  Deno.env.get("PATH") ?? ""
}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;

/** Returns those of the programs that are in no folder of {@link PROGRAM_PATH}. */
export function missingPrograms(names: readonly string[]): string[] {
  const folders = PROGRAM_PATH.split(":").filter((folder) => folder !== "");
  return names.filter((name) => !folders.some((folder) => isFile(`${folder}/${name}`)));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

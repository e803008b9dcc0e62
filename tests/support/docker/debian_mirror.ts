/**
 * Finds the Debian mirror that this machine uses.
 *
 * @module
 */

/** Maximum milliseconds for the mirror to answer. */
const MIRROR_TIMEOUT_MS = 30_000;

/** Returns the first of apt's archives that has the suite, such as "bookworm", or why there is none. */
export async function findMirror(suite: string): Promise<{ url?: string; missing?: string }> {
  const reasons: string[] = [];
  for (const url of await archives()) {
    const release = `${url}/dists/${suite}/Release`;
    try {
      const response = await fetch(release, { method: "HEAD", signal: AbortSignal.timeout(MIRROR_TIMEOUT_MS) });
      if (response.ok) return { url };
      reasons.push(`${release} answers ${response.status}`);
    } catch (error) {
      reasons.push(`${release} cannot be reached: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { missing: reasons.join("; ") || "apt reads from no archive on the network" };
}

/**
 * Lists apt's archives, Debian's own first. Their origin is known only from package lists, which may not be downloaded
 * yet.
 */
async function archives(): Promise<string[]> {
  const of = async (...more: string[]) => {
    const args = ["indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", ...more];
    const { stdout } = await new Deno.Command("apt-get", { args, stderr: "null" }).output();
    return new TextDecoder().decode(stdout).split("\n").filter((uri) => /^https?:/.test(uri));
  };
  try {
    const uris = [...await of("Origin: Debian", "Label: Debian"), ...await of("--no-release-info")];
    return [...new Set(uris.map((uri) => uri.replace(/\/$/, "")))];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

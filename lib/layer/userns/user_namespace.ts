/**
 * Makes user namespaces: the form in which the kernel takes the id maps of a mount.
 *
 * The kernel makes one only for a process, and a process with threads cannot move into another. So a child makes it,
 * and ends as soon as the namespace is ours by a descriptor.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import type { IdMaps, IdRange } from "./id_maps.ts";

/** Milliseconds for the child to start. */
const TIMEOUT_MS = 30_000;
/** No mapping: all 32-bit ids except the highest, which means "none". */
const ALL_IDS: readonly IdRange[] = [{ containerId: 0, hostId: 0, size: 0xffff_ffff }];

/**
 * Makes a user namespace with these maps, which exists as long as the descriptor.
 *
 * @throws {NydusGdError} "environment" if the machine does not allow it
 */
export async function makeUserNamespace(maps: IdMaps): Promise<Fd> {
  try {
    using deadline = new Deadline(TIMEOUT_MS, undefined, () => new NydusGdError("unavailable", "unshare is too slow"));
    return await inNewNamespace(deadline.signal, async (pid) => {
      await Deno.writeTextFile(`/proc/${pid}/uid_map`, mapText(maps.uids), { create: false });
      await Deno.writeTextFile(`/proc/${pid}/gid_map`, mapText(maps.gids), { create: false });
      return open(`/proc/${pid}/ns/user`, O.RDONLY);
    });
  } catch (error) {
    throw new NydusGdError("environment", `Cannot make user namespace: ${messageOf(error)}`, { cause: error });
  }
}

/** Format of /proc/PID/uid_map, user_namespaces(7): a line for each range. */
function mapText(ranges: readonly IdRange[]): string {
  const all = ranges.length === 0 ? ALL_IDS : ranges;
  return all.map(({ containerId, hostId, size }) => `${containerId} ${hostId} ${size}\n`).join("");
}

/** Calls `use` with the pid of a process in a new user namespace, which ends afterwards. */
async function inNewNamespace<T>(signal: AbortSignal, use: (pid: number) => Promise<T>): Promise<T> {
  const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const child = new Deno.Command("unshare", { args: ["--user", "cat"], cwd: "/", signal, ...pipes }).spawn();
  const said = new Response(child.stderr).text();
  const [input, output] = [child.stdin.getWriter(), child.stdout.getReader()];
  try {
    await Promise.allSettled([input.write(Uint8Array.of(1))]); // comes back once cat runs, in the namespace
    const { done } = await output.read();
    if (done) throw new Error((await said).trim() || "unshare has ended");
    return await use(child.pid);
  } finally {
    await Promise.allSettled([input.close(), output.cancel(), said, child.status]);
  }
}

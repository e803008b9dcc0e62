/**
 * Finds the dockerd of this machine and its sockets, to explain why none answers where one was expected.
 *
 * Source: proc(5). `/proc/net/unix` lists the sockets that are listened on (flag 0x10000, __SO_ACCEPTCON) by inode, with
 * the path that each was bound to, whether or not a file is still there.
 *
 * @module
 */
import { basename } from "node:path";
import { readProcessFile, readProcessLink } from "../../../ffi/procfs.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";

const log = logger("image", "docker");

/** A dockerd that is running. */
export interface FoundDockerd {
  readonly pid: number;
  /** Paths of the Unix sockets on which its API listens, without a leading /var of /var/run. */
  readonly sockets: readonly string[];
}

/** Sockets of dockerd that do not serve its API. */
const INTERNAL = /\/(?:libnetwork|swarm)\/[^/]*\.sock$|\/metrics\.sock$/;

/** Returns a dockerd of this process's own pid namespace; undefined if none is found, or this user may not look. */
export function findDockerd(): FoundDockerd | undefined {
  const own = Deno.readLinkSync("/proc/self/ns/pid");
  for (const { name: pid } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!isDockerd(pid) || readProcessLink(pid, "ns/pid") !== own) continue;
      return { pid: Number(pid), sockets: socketsOf(pid) };
    } catch (error) {
      log.debug("process not looked at", { pid, reason: messageOf(error) }); // it has ended, or belongs to another user
    }
  }
  return undefined;
}

/** Maps /var/run, which is a link to /run, to it. */
export function withoutVar(path: string): string {
  return path.replace(/^\/var\/run\//, "/run/");
}

function isDockerd(pid: string): boolean {
  const [program = ""] = (readProcessFile(pid, "cmdline") ?? "").split("\0");
  return basename(program) === "dockerd";
}

function socketsOf(pid: string): string[] {
  const inodes = new Set<string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(readProcessLink(pid, `fd/${name}`) ?? "")?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const listening = /^\S+ \S+ \S+ 00010000 \S+ \S+ +(\d+) (\/.+)$/gm;
  const sockets = (readProcessFile(pid, "net/unix") ?? "").matchAll(listening)
    .filter(([, inode = "", path = ""]) => inodes.has(inode) && !INTERNAL.test(path))
    .map(([, , path = ""]) => withoutVar(path));
  return [...new Set(sockets)];
}

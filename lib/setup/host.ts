/**
 * The machine to set up: this one, or a file tree that will become one.
 *
 * @module
 */
import { join } from "node:path";
import type { DockerEngine } from "../image/docker/engine.ts";

/** Directory in which the daemon that setup starts keeps state, cache and snapshots. */
export const DAEMON_ROOT = "/var/lib/nydus-gd";
/** Directory for the data that undo needs. */
const STATE_DIR = `${DAEMON_ROOT}/setup`;

/** Paths are given as seen by the machine and resolved below the prefix. */
export class Host {
  /**
   * @param prefix absolute; "/" for this machine
   * @param docker Docker of this machine; absent for a file tree
   */
  constructor(readonly prefix: string, readonly docker?: DockerEngine) {}

  /** Whether it is the running machine, whose services are queried and changed as well. */
  get isLive(): boolean {
    return this.prefix === "/";
  }

  /** Resolves a path of the machine. */
  at(path: string): string {
    return join(this.prefix, path);
  }

  get stateDir(): string {
    return this.at(STATE_DIR);
  }
}

/**
 * The machine that is set up: this one, or a tree of files that will be one.
 *
 * @module
 */
import { join } from "node:path";
import type { DockerEngine } from "../image/docker/engine.ts";

/** Where setup keeps what it needs to undo itself. */
const STATE_DIR = "/var/lib/nydus-gd/setup";

/** Paths are told as the machine knows them, and found below the prefix. */
export class Host {
  /**
   * @param prefix absolute; "/" for this machine
   * @param docker its Docker, asked what it runs; absent for a tree of files
   */
  constructor(readonly prefix: string, readonly docker?: DockerEngine) {}

  /** Whether it is the machine that runs this program: then its services are asked and changed, too. */
  get isLive(): boolean {
    return this.prefix === "/";
  }

  /** Where `path` of the machine is to be found. */
  at(path: string): string {
    return join(this.prefix, path);
  }

  get stateDir(): string {
    return this.at(STATE_DIR);
  }
}

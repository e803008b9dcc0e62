/**
 * How to reach source images, wherever they are.
 *
 * @module
 */
import type { BackendDeps } from "../../backend/open_backend.ts";
import type { DockerEngine } from "../docker/engine.ts";

/** Access to registries, Docker and scratch space. */
export interface SourceAccess {
  /** For registries. */
  readonly deps: BackendDeps;
  /** Returns the daemon of `docker:` names. */
  docker(): DockerEngine;
  /** Folder for temporary files, removed by the caller. */
  readonly folder: string;
}

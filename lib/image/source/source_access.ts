/**
 * What ordinary images are reached with, wherever they are.
 *
 * @module
 */
import type { BackendDeps } from "../../backend/open_backend.ts";
import type { DockerEngine } from "../docker/engine.ts";

/** See the module. */
export interface SourceAccess {
  /** For registries. */
  readonly deps: BackendDeps;
  /** The daemon that `docker:` names. */
  docker(): DockerEngine;
  /** Folder for what has to be in a file; it is the caller's to remove. */
  readonly folder: string;
}

/**
 * The part of a plan that depends on who uses the daemon: Docker's graph drivers, or containerd.
 *
 * @module
 */
import type { DockerState } from "./docker/docker_state.ts";
import { pluginSupport } from "./docker/docker_version.ts";
import type { FileChange } from "./file_change.ts";
import type { PlanSource } from "./plan_files.ts";

/** Name of our storage driver and of its socket; that of our snapshotter may be another. */
export const DRIVER = "nydus-gd";

/** Who uses the daemon. */
export type SetupTarget = "docker" | "containerd";

/** What such a plan is made from. */
export interface TargetSource extends PlanSource {
  readonly docker: DockerState;
}

/** Changes of files that are not the daemon's own, and who has to read them. */
export interface TargetPlan {
  /** Name by which Docker knows us: its storage driver. */
  readonly driver: string;
  readonly changes: readonly FileChange[];
  /** Paths that Docker reads when it starts; absent: Docker does not get our driver. */
  readonly dockerReads?: readonly string[];
  /** Paths that containerd reads when it starts; absent: it does not get our snapshotter. */
  readonly containerdReads?: readonly string[];
  /** Complete sentences for the user. */
  readonly notes: readonly string[];
}

/** The target for a machine where none was named: Docker's version decides. */
export function targetFor({ version }: DockerState): SetupTarget {
  return pluginSupport(version ?? "").kind === "removed" ? "containerd" : "docker";
}

/**
 * State of Docker before a change: its version, its unit and what it runs.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { DockerEngine } from "../../image/docker/engine.ts";
import type { DockerInfo, RunningContainer } from "../../image/docker/engine_responses.ts";
import { type DockerUnit, readDockerUnit } from "./docker_flags.ts";
import type { Host } from "../host.ts";

const log = logger("setup");

const MISSING = [Deno.errors.NotFound, Deno.errors.NotADirectory];
const BINARIES = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];

/** State of a running Docker. */
export interface RunningDocker {
  readonly info: DockerInfo;
  readonly containers: readonly RunningContainer[];
}

/** State of Docker on a machine. */
export interface DockerState {
  readonly unit: DockerUnit;
  /** "26.1.5+dfsg1"; undefined if no dockerd reports one. */
  readonly version: string | undefined;
  /** Undefined if Docker does not run, or the machine is only a file tree. */
  readonly running: RunningDocker | undefined;
}

/**
 * Reads the state of Docker. The installed version, which the next start will run, takes precedence over the running
 * one.
 */
export async function lookAtDocker(host: Host, signal: AbortSignal): Promise<DockerState> {
  const running = host.docker && await whatRuns(host.docker, signal);
  return {
    unit: await readDockerUnit(host),
    version: await installedVersion(host, signal) ?? running?.info.version,
    running,
  };
}

/** Version reported by `dockerd --version`. */
async function installedVersion(host: Host, signal: AbortSignal): Promise<string | undefined> {
  for (const path of BINARIES) {
    const said = await ignore(MISSING, outputOf(host.at(path), signal)).catch((error) => {
      log.debug("dockerd is not running", { path, reason: messageOf(error) }); // a tree may be of another architecture
      return undefined;
    });
    const version = /version (\S+?),?\s/.exec(said ?? "")?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}

async function outputOf(program: string, signal: AbortSignal): Promise<string> {
  const command = new Deno.Command(program, { args: ["--version"], stdin: "null", stderr: "null", signal });
  return new TextDecoder().decode((await command.output()).stdout);
}

async function whatRuns(docker: DockerEngine, signal: AbortSignal): Promise<RunningDocker | undefined> {
  try {
    return { info: await docker.info(signal), containers: await docker.running(signal) };
  } catch (error) {
    if (error instanceof NydusGdError && error.code === "unavailable") return undefined;
    throw error;
  }
}

/**
 * The Docker of a machine before it is changed: its version, its unit, and where it runs what it does now.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { DockerEngine } from "../image/docker/engine.ts";
import type { DockerInfo, RunningContainer } from "../image/docker/engine_answers.ts";
import { type DockerUnit, readDockerUnit } from "./docker_flags.ts";
import type { Host } from "./host.ts";

const log = logger("setup");

const MISSING = [Deno.errors.NotFound, Deno.errors.NotADirectory];
const BINARIES = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];

/** What it does now. */
export interface RunningDocker {
  readonly info: DockerInfo;
  readonly containers: readonly RunningContainer[];
}

/** See the module. */
export interface DockerState {
  readonly unit: DockerUnit;
  /** "26.1.5+dfsg1"; undefined where there is no dockerd that says. */
  readonly version: string | undefined;
  /** Undefined where it does not run, or the machine is a tree of files. */
  readonly running: RunningDocker | undefined;
}

/** Looks. What is installed will run when Docker starts again, so its version counts before that of what runs. */
export async function lookAtDocker(host: Host, signal: AbortSignal): Promise<DockerState> {
  const running = host.docker && await whatRuns(host.docker, signal);
  return {
    unit: await readDockerUnit(host),
    version: await installedVersion(host, signal) ?? running?.info.version,
    running,
  };
}

/** What `dockerd --version` says. */
async function installedVersion(host: Host, signal: AbortSignal): Promise<string | undefined> {
  for (const path of BINARIES) {
    const said = await ignore(MISSING, outputOf(host.at(path), signal)).catch((error) => {
      log.debug("dockerd does not run", { path, reason: messageOf(error) }); // a tree may be of another architecture
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

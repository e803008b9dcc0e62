/**
 * One cold start by a real dockerd: no part of the image is on this machine, and the page cache is dropped.
 *
 * @module
 */
import { NydusGdError } from "../../lib/base/errors.ts";
import { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, SandboxedServe } from "../../lib/demo/graph_driver.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import type { Throttle } from "../../lib/demo/throttle.ts";
import { type Bench, dropCaches } from "./row.ts";

/** What is started, and over which link. */
export interface ColdStartOptions {
  readonly driver: "overlay2" | typeof DRIVER_NAME;
  readonly link: Throttle;
  readonly repository: string;
  readonly command: readonly string[];
  /** Environment of `serve`, in addition to that of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Result of a cold start. */
export interface ColdStart {
  /** Pull and run, until the container's line is printed. */
  readonly seconds: number;
  /** Megabytes transferred over the link by then. */
  readonly megabytes: number;
  readonly requests: number;
}

/** Environments of `serve` with and without background prefetch of the whole image. */
export const PREFETCH = {
  on: { NYDUS_GD_PREFETCH_ENABLED: "true" },
  off: { NYDUS_GD_PREFETCH_ENABLED: "false" },
} as const;

let starts = 0;

/** Starts dockerd, pulls, runs, and removes everything. */
export async function coldStart({ scratch, program }: Bench, options: ColdStartOptions): Promise<ColdStart> {
  const { driver, link, command, env } = options;
  const dir = `${scratch}/d${starts++}`;
  await Deno.mkdir(dir);
  try {
    await using sandbox = await Sandbox.start();
    await using parts = new AsyncDisposableStack();
    if (driver === DRIVER_NAME) {
      parts.use(await SandboxedServe.start({ sandbox, dir, program, ...(env === undefined ? {} : { env }) }));
    }
    await using daemon = await DockerDaemon.start({ sandbox, dir, storageDriver: driver });
    await dropCaches();
    link.reset();
    const reference = `${link.host}/${options.repository}:latest`;
    const start = performance.now();
    await daemon.must(["pull", "--quiet", reference]);
    const said = await daemon.must(["run", "--rm", "--network=none", reference, ...command]);
    const seconds = (performance.now() - start) / 1000;
    const { bytes, requests } = link.traffic();
    if (said !== "ready") throw new NydusGdError("internal", `Cannot measure ${reference}: the container said ${said}`);
    return { seconds, megabytes: bytes / 1e6, requests };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/**
 * Demonstrates a cold start by a real dockerd over a slow link: first of an ordinary image on overlay2, then of the
 * same image lazily on this driver. Reports times and traffic.
 *
 * Everything runs in a {@link Sandbox} and a scratch directory; nothing is left behind.
 *
 * @module
 */
import { dirname } from "node:path";
import { throwIfAborted } from "../base/abort.ts";
import { bytesText } from "../base/byte_text.ts";
import { NydusGdError } from "../base/errors.ts";
import { fileSystemFill } from "../blob/cache/cache_usage.ts";
import { writeUserland } from "./debian_userland.ts";
import { buildDemoImages } from "./demo_images.ts";
import { DockerDaemon } from "./docker_daemon.ts";
import { DRIVER_NAME, SandboxedServe } from "./graph_driver.ts";
import { missingPrograms } from "./programs.ts";
import { pushImage } from "./push_image.ts";
import { RegistryProcess } from "./registry_process.ts";
import { Sandbox } from "./sandbox.ts";
import { Throttle, type Traffic } from "./throttle.ts";

/** Properties of the simulated link. */
export const LINK = { bytesPerSecond: 6_000_000, delayMs: 20 } as const;

/** The programs that it runs, and the Debian package of each. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "dpkg-query": "dpkg",
  dockerd: "docker.io",
  docker: "docker.io",
  "docker-registry": "docker-registry",
};

/** What the demonstration writes (430 MB on a small Debian), and some room. */
const ROOM_BYTES = 600e6;

/** Command of the container. Its single line of output signals readiness. */
const WORKLOAD = [
  "perl",
  "-e",
  'use POSIX; open F, "/etc/debian_version"; print "ready: Debian ", <F>',
];

/** One measured start of the container. Times are in milliseconds. */
export interface DemoRun {
  readonly name: string;
  readonly pullMs: number;
  /** Time from `docker run` to the container's line of output. */
  readonly startMs: number;
  readonly pulled: Traffic;
  /** Traffic of pull and start together. */
  readonly total: Traffic;
}

/** Result of the demonstration. */
export interface DemoResult {
  /** Bytes of the tree as a tar, and of the compressed layer of the ordinary image. */
  readonly plainBytes: number;
  readonly layerBytes: number;
  readonly packages: number;
  readonly classic: DemoRun;
  readonly lazy: DemoRun;
}

/**
 * Runs the demonstration.
 *
 * @param dir an empty scratch directory with a short path; the caller removes it
 * @param progress called with a description of each step
 * @throws {NydusGdError} "environment" when the machine lacks something
 */
export async function runDemo(
  dir: string,
  progress: (step: string) => void,
  signal: AbortSignal,
): Promise<DemoResult> {
  requireMachine();
  requireRoom(dir);
  // All of it is on loopback, which fetch would reach through a proxy of the environment.
  Deno.env.set("NO_PROXY", "127.0.0.1");
  progress("collecting the essential packages of this Debian");
  const packages = await writeUserland(`${dir}/userland.tar`, dir);
  throwIfAborted(signal);
  progress("building an ordinary and a lazy image of them");
  const images = await buildDemoImages(`${dir}/userland.tar`, dir, signal);
  throwIfAborted(signal);
  progress("starting docker-registry and pushing both");
  await using registry = await RegistryProcess.start(`${dir}/registry`);
  await pushImage({ host: registry.host, repository: "demo/classic", tag: "latest" }, images.classic);
  await pushImage({ host: registry.host, repository: "demo/lazy", tag: "latest" }, images.lazy, [images.blob]);
  throwIfAborted(signal);
  await using link = new Throttle({ upstream: `http://${registry.host}`, ...LINK });
  await using sandbox = await Sandbox.start();

  progress("overlay2: pulling all of it, then starting");
  await Deno.mkdir(`${dir}/c`);
  const classic = await measure(
    { name: "overlay2", sandbox, dir: `${dir}/c`, driver: "overlay2" },
    link,
    "demo/classic",
    signal,
  );

  progress("nydus-gd: starting before it is downloaded");
  await Deno.mkdir(`${dir}/l`);
  await using _driver = await SandboxedServe.start({ sandbox, dir: `${dir}/l` });
  const lazy = await measure(
    { name: "nydus-gd", sandbox, dir: `${dir}/l`, driver: DRIVER_NAME },
    link,
    "demo/lazy",
    signal,
  );

  return {
    plainBytes: images.plainBytes,
    layerBytes: images.classic.layers.reduce((sum, { bytes }) => sum + bytes.length, 0),
    packages: packages.length,
    classic,
    lazy,
  };
}

interface Candidate {
  readonly name: string;
  readonly sandbox: Sandbox;
  readonly dir: string;
  readonly driver: string;
}

/** Pulls and starts an image with a cold cache. */
async function measure(
  candidate: Candidate,
  link: Throttle,
  repository: string,
  signal: AbortSignal,
): Promise<DemoRun> {
  const { name, sandbox, dir, driver } = candidate;
  await using daemon = await DockerDaemon.start({ sandbox, dir, storageDriver: driver }, signal);
  const reference = `${link.host}/${repository}:latest`;
  link.reset();
  const start = performance.now();
  await daemon.must(["pull", "--quiet", reference], { signal });
  const pulledAt = performance.now();
  const pulled = link.traffic();
  const line = await daemon.must(["run", "--rm", "--network=none", reference, ...WORKLOAD], { signal });
  const readyAt = performance.now();
  if (!line.startsWith("ready")) throw new NydusGdError("internal", `Cannot run demo: the container said ${line}`);
  return { name, pullMs: pulledAt - start, startMs: readyAt - pulledAt, pulled, total: link.traffic() };
}

function requireMachine(): void {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot run demo: containers and mounts need root", {
      hint: "sudo nydus-gd demo",
    });
  }
  const missing = missingPrograms(Object.keys(PROGRAMS));
  if (missing.length === 0) return;
  const packages = new Set(missing.map((name) => PROGRAMS[name]));
  throw new NydusGdError("environment", `Cannot run demo: ${missing.join(", ")} not found`, {
    hint: `on a Debian: apt-get install ${[...packages].join(" ")}`,
  });
}

function requireRoom(dir: string): void {
  const { freeBytes } = fileSystemFill(dir);
  if (freeBytes >= ROOM_BYTES) return;
  const [free, room] = [freeBytes, ROOM_BYTES].map(bytesText);
  const parent = dirname(dir);
  throw new NydusGdError("environment", `Cannot run demo: ${parent} has ${free} left, and it takes ${room}`, {
    hint: "free some space there, or name a folder that has it: TMPDIR=…",
  });
}

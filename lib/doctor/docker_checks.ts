/**
 * Docker: whether it answers, whether this version takes graph-driver plugins, and whether it uses ours.
 *
 * @module
 */
import { type Check, fail, failedWith, type Finding, ok, skipped, warn } from "./check.ts";
import type { DockerInfo } from "../setup/docker_api.ts";
import { pluginSupport } from "../setup/docker_version.ts";
import type { Subject } from "./subject.ts";

const GROUP = "docker";
const SETUP = "nydus-gd setup";

/** What each of the checks looks at, asked for once. */
interface Answers {
  readonly version: string;
  readonly info: DockerInfo;
}

/** Reachable, version, driver, and what would keep lazy images from starting. */
export function dockerChecks(subject: Subject): Check[] {
  const { docker, options: { socket } } = subject;
  const driver = socket.replace(/^.*\//, "").replace(/\.sock$/, "");
  let asked: Promise<Answers> | undefined;
  const ask = (signal: AbortSignal) =>
    asked ??= Promise.all([docker.version(signal), docker.info(signal)]).then(([version, info]) => ({ version, info }));
  /** Where Docker does not answer only the first check says so. */
  const check = (name: string, judge: (answers: Answers) => Finding): Check => ({
    group: GROUP,
    name,
    async look(signal) {
      const answers = await ask(signal).catch(() => undefined);
      return answers === undefined ? skipped("Docker does not answer") : judge(answers);
    },
  });
  return [
    {
      group: GROUP,
      name: "daemon",
      async look(signal) {
        try {
          const { version } = await ask(signal);
          return ok(`${version} at ${docker.host}`);
        } catch (error) {
          return failedWith(error);
        }
      },
    },
    check("version", ({ version }) => judgeVersion(version)),
    check("storage driver", ({ version, info }) => judgeDriver(version, info, driver)),
    check("image store", ({ info }) => judgeStore(info)),
    check("user namespaces", ({ info }) => judgeNamespaces(info)),
  ];
}

function judgeVersion(version: string): Finding {
  const support = pluginSupport(version);
  switch (support.kind) {
    case "supported":
      return ok(`${version} takes graph-driver plugins`);
    case "environment":
      return ok(`${version} takes them where ${support.variable}=1 is in dockerd's environment`);
    case "unknown":
      return warn(`${JSON.stringify(version)} is no version that is known here`, "docker version");
    case "too-old":
      return warn(`${version} is older than 20.10, the oldest that was tested`, "install Docker 20.10 to 26");
    case "removed":
      return fail(`${version} has no graph-driver plugins any more`, "install Docker 20.10 to 26");
  }
}

function judgeDriver(version: string, { Driver, ExperimentalBuild }: DockerInfo, ours: string): Finding {
  if (Driver === ours) return ok(`${Driver} is in use`);
  if (pluginSupport(version).kind === "removed") return skipped(`${Driver} is in use, which cannot be changed here`);
  const experimental = ExperimentalBuild ? "" : "; dockerd is started without experimental features";
  return fail(`${Driver} is in use, not ${ours}${experimental}`, SETUP);
}

function judgeStore({ DriverStatus }: DockerInfo): Finding {
  const usesContainerd = (DriverStatus ?? []).some(([key, value]) =>
    key === "driver-type" && value?.startsWith("io.containerd.snapshotter")
  );
  return usesContainerd
    ? fail("containerd keeps the images: graph drivers are not asked", '"containerd-snapshotter": false in daemon.json')
    : ok("Docker's own");
}

function judgeNamespaces({ SecurityOptions }: DockerInfo): Finding {
  const options = (SecurityOptions ?? []).join(" ");
  if (/name=rootless/.test(options)) return fail("rootless: layers need root of the machine", "run Docker as root");
  if (/name=userns/.test(options)) {
    return warn("userns-remap: ordinary images work, lazy ones are refused", "remove userns-remap from daemon.json");
  }
  return ok("none");
}

/**
 * Checks Docker: whether it answers, uses this driver, and in a way that its version supports.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { requireIdmaps } from "../mount/idmaps.ts";
import { type Check, fail, failedWith, ok, type Outcome, skipped, warn } from "./check.ts";
import type { DockerInfo } from "../image/docker/engine_responses.ts";
import { damagedLayersIn, layerProblems } from "../layer/record/layer_damage.ts";
import { recordedParents } from "../image/docker/layers.ts";
import { dockerImageDir } from "../image/docker/files.ts";
import { recordProblems } from "../image/docker/record_problems.ts";
import { HomePaths } from "../layer/record/layer_paths.ts";
import { servedHome } from "../layer/home/served_home.ts";
import { readDockerUnit } from "../setup/docker/docker_flags.ts";
import { pluginSupport } from "../setup/docker/docker_version.ts";
import { whyItEnded } from "../setup/journal.ts";
import { hasSystemd, showUnit } from "../setup/systemd.ts";
import { readFileState } from "../setup/file_state.ts";
import { DOCKER_SERVICE, DROP_IN_PATH } from "../setup/unit_files.ts";
import type { Installation } from "./installation.ts";
import { scratchIn } from "./scratch.ts";

const GROUP = "docker";
const SETUP = "nydus-gd setup";
const JOURNAL = "journalctl -u docker -n 50";
const INSTALL = "install Docker 20.10 or later";

/** Checks of reachability, version, driver, and of settings that prevent lazy images from starting. */
export function dockerChecks(installation: Installation): Check[] {
  const { docker } = installation;
  let asked: Promise<DockerInfo> | undefined;
  const ask = (signal: AbortSignal) => asked ??= docker.info(signal);
  /** Skips the check if Docker does not answer: only the first check reports that. */
  const check = (name: string, judge: (info: DockerInfo) => Outcome | Promise<Outcome>): Check => ({
    group: GROUP,
    name,
    async run(signal) {
      const info = await ask(signal).catch(() => undefined);
      return info === undefined ? skipped("Docker does not answer") : judge(info);
    },
  });
  return [
    {
      group: GROUP,
      name: "daemon",
      mend: JOURNAL,
      async run(signal) {
        try {
          const { version } = await ask(signal);
          return ok(`${version} at ${docker.host}`);
        } catch (error) {
          if (installation.snapshotter !== undefined && !await isInstalled(installation)) {
            return skipped("there is no Docker; containerd is set up");
          }
          return (isOfTheUnit(docker.host) ? await whyFailed() : undefined) ?? failedWith(error);
        }
      },
    },
    check("version", ({ version }) => judgeVersion(version)),
    check("storage driver", async (info) => {
      const finding = judgeDriver(info, driverFor(info, installation));
      if (finding.verdict !== "fail" || !await isLeftAlone(installation, info)) return finding;
      return skipped(`${info.driver} is in use; only containerd is set up`, `${SETUP} --target docker`);
    }),
    check("image store", (info) => judgeStore(info, driverFor(info, installation))),
    check("user namespaces", (info) => judgeNamespaces(info, installation)),
    { group: GROUP, name: "layer records", run: () => checkLayers(installation) },
  ];
}

/** Looks at the files, so that it works whether or not the daemon runs. */
async function checkLayers({ isRoot, options: { root } }: Installation): Promise<Outcome> {
  if (!isRoot) return skipped("only root can read them", "sudo nydus-gd doctor");
  const home = await servedHome(`${root}/state`);
  if (home === undefined) return ok("none: dockerd has not called yet");
  const imageDir = dockerImageDir(home);
  const damaged = await damagedLayersIn(home, await recordedParents(imageDir));
  const problems = [...layerProblems(damaged, new HomePaths(home)), ...await recordProblems(imageDir, home)];
  const [first] = problems;
  if (first === undefined) return ok("none is damaged");
  return fail(problems.map(({ message }) => message).join("; "), first.remedy);
}

/** Name by which this Docker knows us. */
function driverFor({ usesContainerdStore }: DockerInfo, { snapshotter, driverName }: Installation): string {
  return usesContainerdStore && snapshotter !== undefined ? snapshotter.name : driverName;
}

/** Whether setup was told to set up containerd, beside a Docker with graph drivers. */
async function isLeftAlone({ host, snapshotter }: Installation, { version }: DockerInfo): Promise<boolean> {
  if (snapshotter === undefined || pluginSupport(version).kind === "removed") return false;
  return (await readFileState(host.at(DROP_IN_PATH))).kind === "none";
}

async function isInstalled({ host }: Installation): Promise<boolean> {
  return (await readDockerUnit(host)).isThere;
}

/** Whether this is the socket of Docker's unit, and not that of a Docker started otherwise. */
function isOfTheUnit(host: string): boolean {
  return /^unix:\/\/(\/var)?\/run\/docker\.sock$/.test(host);
}

/** Why systemd does not start Docker; undefined if it does, or nothing was said. */
async function whyFailed(): Promise<Outcome | undefined> {
  if (!await hasSystemd()) return undefined;
  const { load, active, started } = await showUnit(DOCKER_SERVICE);
  if (load === "masked") return fail(`${DOCKER_SERVICE} is masked`, `systemctl unmask ${DOCKER_SERVICE}`);
  if (active !== "failed") return undefined;
  const said = await whyItEnded({ unit: DOCKER_SERVICE, since: started });
  if (said === undefined) return undefined;
  const isAboutUs = /graphdriver|storage driver/i.test(said.state);
  return fail(`Docker does not start: ${said.state}`, isAboutUs ? SETUP : JOURNAL);
}

function judgeVersion(version: string): Outcome {
  const support = pluginSupport(version);
  switch (support.kind) {
    case "supported":
      return ok(`${version} supports graph-driver plugins`);
    case "environment":
      return ok(`${version} supports them if ${support.variable}=1 is in dockerd's environment`);
    case "unknown":
      return warn(`${JSON.stringify(version)} is not a known version`, "docker version");
    case "too-old":
      return warn(`${version} is older than 20.10, the oldest that was tested`, INSTALL);
    case "removed":
      return ok(`${version} supports snapshotters of containerd`);
  }
}

function judgeDriver({ version, driver, isExperimental }: DockerInfo, ours: string): Outcome {
  if (driver === ours) return ok(`${driver} is in use`);
  const needsExperimental = pluginSupport(version).kind !== "removed" && !isExperimental;
  const experimental = needsExperimental ? "; dockerd is started without experimental features" : "";
  return fail(`${driver} is in use, not ${ours}${experimental}`, SETUP);
}

function judgeStore({ version, driver, usesContainerdStore }: DockerInfo, ours: string): Outcome {
  const hasPlugins = pluginSupport(version).kind !== "removed";
  if (usesContainerdStore && (!hasPlugins || driver === ours)) return ok("containerd");
  if (usesContainerdStore) {
    const remedy = 'nydus-gd setup --target containerd, or "containerd-snapshotter": false in daemon.json';
    return fail("containerd stores the images: graph drivers are not used", remedy);
  }
  return hasPlugins ? ok("Docker's own") : fail("Docker's own, which has no plugins in this version", SETUP);
}

async function judgeNamespaces({ securityOptions }: DockerInfo, installation: Installation): Promise<Outcome> {
  const options = securityOptions.join(" ");
  if (/name=rootless/.test(options)) return fail("rootless: layers need root on the host", "run Docker as root");
  return /name=userns/.test(options) ? await judgeRemapping(installation) : ok("none");
}

/** The kernel's EROFS can shift owners wherever it can be used, FUSE only if the kernel is new enough. */
async function judgeRemapping({ isRoot, options }: Installation): Promise<Outcome> {
  if (!isRoot) return skipped("userns-remap: mounting needs root", "sudo nydus-gd doctor");
  await using scratch = await scratchIn(options.root, "idmap");
  try {
    requireIdmaps("fuse", scratch.path);
    return ok("userns-remap: the owners of lazy images are shifted, too");
  } catch (error) {
    const seen = `userns-remap: ordinary images work, lazy ones by EROFS only (${messageOf(error)})`;
    return warn(seen, "Linux 6.12, or remove userns-remap from daemon.json");
  }
}

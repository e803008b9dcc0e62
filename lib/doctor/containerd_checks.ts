/**
 * Checks containerd: whether it knows our snapshotter, reaches it, and tells it what it needs to know; and its snapshots.
 *
 * @module
 */
import { othersBeside, type Registration, SNAPSHOTTER } from "../setup/containerd/containerd_config.ts";
import { criProblem } from "../setup/containerd/containerd_cri.ts";
import { type ContainerdFiles, snapshotterState } from "../setup/containerd/containerd_state.ts";
import { CONTAINERD_SERVICE } from "../setup/unit_files.ts";
import { snapshotProblems } from "../snapshot/snapshot_damage.ts";
import { readSnapshots } from "../snapshot/snapshot_files.ts";
import { mountedUppers } from "../snapshot/snapshot_images.ts";
import { SnapshotPaths, snapshotterDir } from "../snapshot/snapshot_paths.ts";
import { countText } from "../base/count_text.ts";
import { type Check, fail, failedWith, ok, type Outcome, skipped, warn } from "./check.ts";
import { checkSocket } from "./daemon_checks.ts";
import type { Installation } from "./installation.ts";

const GROUP = "containerd";
const SETUP = "nydus-gd setup --target containerd";

/** Checks of configuration, socket, the running containerd, and Kubernetes' plugin in it. */
export function containerdChecks(installation: Installation): Check[] {
  const { containerdFiles, containerdSocket } = installation;
  /** Skips the check if the snapshotter is not set up: only the first check reports that. */
  const check = (
    name: string,
    run: (registered: Registration, signal: AbortSignal) => Promise<Outcome> | Outcome,
  ): Check => ({
    group: GROUP,
    name,
    run(signal) {
      const { snapshotter } = installation;
      return snapshotter === undefined ? skipped(`no snapshotter ${SNAPSHOTTER} is set up`) : run(snapshotter, signal);
    },
  });
  return [
    {
      group: GROUP,
      name: "proxy plugin",
      run() {
        if ("error" in containerdFiles) return failedWith(containerdFiles.error);
        const { snapshotter } = installation;
        if (snapshotter !== undefined) return judgeRegistration(snapshotter, containerdFiles.value);
        return containerdFiles.value.isThere
          ? skipped(`containerd has none of the name ${SNAPSHOTTER}`, SETUP)
          : skipped("containerd is not installed");
      },
    },
    check("snapshotter socket", ({ address }) => checkSocket(address)),
    check("snapshotter", ({ name }, signal) => checkPlugin(name, containerdSocket, signal)),
    { group: GROUP, name: "snapshot records", run: () => checkSnapshots(installation) },
    check(
      "Kubernetes",
      (_registered, signal) =>
        "error" in containerdFiles ? skipped("unknown") : judgeCri(containerdFiles.value, signal),
    ),
  ];
}

function judgeRegistration(registered: Registration, { files }: ContainerdFiles): Outcome {
  const { name, address } = registered;
  const [other] = othersBeside(registered, files);
  if (other !== undefined) return fail(`${other} leads to ${address} as well`, `remove proxy_plugins.${other}`);
  return ok(`${name} at ${address}`);
}

async function checkPlugin(name: string, socket: string, signal: AbortSignal): Promise<Outcome> {
  const state = await snapshotterState(name, { socket, signal });
  switch (state) {
    case undefined:
      return skipped("containerd cannot be asked: it does not run, or there is no ctr", "systemctl status containerd");
    case "ok":
      return ok("known to the running containerd");
    case "none":
      return fail("the running containerd has not read this configuration", `systemctl restart ${CONTAINERD_SERVICE}`);
    default:
      return fail(`containerd says "${state}"`, `journalctl -u ${CONTAINERD_SERVICE} -n 50`);
  }
}

/** Looks at the files, so that it works whether or not the daemon runs. */
async function checkSnapshots({ isRoot, options: { root } }: Installation): Promise<Outcome> {
  if (!isRoot) return skipped("only root can read them", "sudo nydus-gd doctor");
  const paths = new SnapshotPaths(snapshotterDir(root));
  const found = await readSnapshots(paths);
  const problems = snapshotProblems(found, paths, mountedUppers());
  const [first] = problems;
  if (first === undefined) return ok(`${countText(found.snapshots.length, "snapshot")}, none damaged`);
  return fail(problems.map(({ message }) => message).join("; "), first.remedy);
}

async function judgeCri({ files, effective }: ContainerdFiles, signal: AbortSignal): Promise<Outcome> {
  const problem = await criProblem(files, () => effective(signal));
  return problem === undefined ? ok("not in the way") : warn(problem.state, problem.remedy);
}

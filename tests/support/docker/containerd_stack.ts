/**
 * Environment of an end-to-end test with a containerd: registry, sandbox, `nydus-gd serve` and containerd.
 *
 * @module
 */
import { parseMountinfo } from "../../../ffi/mountinfo.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { SandboxedServe, type SandboxedServeOptions } from "../../../lib/demo/graph_driver.ts";
import { Sandbox } from "../../../lib/demo/sandbox.ts";
import { SNAPSHOTTER } from "../../../lib/setup/containerd/containerd_config.ts";
import { Containerd } from "./containerd.ts";
import { pullByCri, removeByCri } from "./cri_client.ts";
import { docker28, DOCKER_26 } from "./dockerds.ts";
import { CountedRegistry, dockerMissing } from "./docker_stack.ts";
import { NO_PREFETCH } from "../serve/graph_driver_process.ts";
import { EXECUTABLE } from "../process/program.ts";
import { TempDir } from "../temp_dir.ts";
import { until, untilEqual } from "../until.ts";

/** A containerd that tests can run. */
export interface ContainerdProgram {
  readonly name: string;
  /** Why tests cannot run with it here; undefined if they can. */
  readonly missing: string | undefined;
  /** Opens the system that contains it; absent: the machine itself. */
  open?(sandbox: Sandbox, dir: string): Promise<Pick<Sandbox, "spawn"> & AsyncDisposable>;
}

/** Why there is no containerd here; undefined if there is one. Docker's package brings it. */
export const containerdMissing: string | undefined = dockerMissing() ??
  (await ignore(Deno.errors.NotFound, Deno.stat("/usr/bin/containerd")) === undefined
    ? "containerd not installed"
    : undefined);

/** The machine's. */
export const INSTALLED_CONTAINERD: ContainerdProgram = { name: "containerd", missing: containerdMissing };

/** That of Debian 13, beside dockerd 26.1. */
export const CONTAINERD_17: ContainerdProgram = { ...DOCKER_26, name: "containerd 1.7" };

/** That of Debian's unstable release, beside dockerd 28. */
export async function containerd2(): Promise<ContainerdProgram> {
  return { ...await docker28(), name: "containerd 2" };
}

/** Namespace of Kubernetes' images in containerd. */
const NAMESPACE = "k8s.io";
const IN_NAMESPACE = ["--namespace", NAMESPACE];
const OURS = ["--snapshotter", SNAPSHOTTER];
/** A group of the namespace's name would be left behind. */
const IN_OUR_CGROUP = ["--cgroup", ""];

/** Runs `test` with its own registry and containerd; both are gone afterwards, with everything they left. */
export async function withContainerd(
  test: (stack: ContainerdStack) => Promise<void>,
  program: ContainerdProgram = INSTALLED_CONTAINERD,
): Promise<void> {
  using temp = TempDir.make();
  await using registry = await CountedRegistry.start(`${temp.path}/registry`);
  await using stack = await ContainerdStack.start(temp.path, registry, program);
  await test(stack);
}

/** containerd with our snapshotter. */
export class ContainerdStack implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly registry: CountedRegistry,
    readonly sandbox: Sandbox,
    private driver: SandboxedServe,
    readonly containerd: Containerd,
    private readonly driverOptions: SandboxedServeOptions,
    private readonly parts: AsyncDisposableStack,
  ) {}

  static async start(
    dir: string,
    registry: CountedRegistry,
    program: ContainerdProgram = INSTALLED_CONTAINERD,
  ): Promise<ContainerdStack> {
    await using parts = new AsyncDisposableStack();
    const sandbox = parts.use(await Sandbox.start());
    const system = await program.open?.(sandbox, dir);
    parts.use(system);
    const snapshotterSocket = `${dir}/snapshotter.sock`;
    const options = {
      sandbox,
      dir,
      snapshotterSocket,
      // what only an image or its labels say may not lead to this machine
      env: { ...NO_PREFETCH, NYDUS_GD_PREFETCH_READ_AHEAD: "0", NYDUS_GD_FETCH_TRUSTED_ORIGINS: registry.host },
      ...(EXECUTABLE === undefined ? {} : { program: EXECUTABLE }),
    };
    const driver = await SandboxedServe.start(options);
    const containerd = parts.use(
      await Containerd.start({ sandbox: system ?? sandbox, dir, snapshotterSocket, hasCri: true }),
    );
    return new ContainerdStack(dir, registry, sandbox, driver, containerd, options, parts.move());
  }

  /** Pulls as ctr does, all layers first. `flags`: further ones. */
  async pull(reference: string, flags: readonly string[] = []): Promise<void> {
    await this.containerd.ctr(...IN_NAMESPACE, "images", "pull", "--plain-http", ...flags, ...OURS, reference);
  }

  /** Pulls as a kubelet does, which asks the snapshotter first. */
  pullByCri(reference: string): Promise<void> {
    return pullByCri(this.containerd.socket, reference);
  }

  /** Runs a program in a new container to completion and returns its output. */
  run(reference: string, id: string, ...command: string[]): Promise<string> {
    return this.containerd.ctr(...IN_NAMESPACE, "run", "--rm", ...OURS, ...IN_OUR_CGROUP, reference, id, ...command);
  }

  /** Starts a container that does nothing. `flags`: further ones of `ctr run`. */
  async begin(reference: string, id: string, flags: readonly string[] = []): Promise<void> {
    const words = [...IN_NAMESPACE, "run", "--detach", ...OURS, ...IN_OUR_CGROUP, ...flags, reference, id];
    await this.containerd.ctr(...words, "/bin/busybox", "sleep", "1000");
  }

  /** Runs a program in a started container. */
  exec(id: string, ...command: string[]): Promise<string> {
    const name = crypto.randomUUID();
    return this.containerd.ctr(...IN_NAMESPACE, "tasks", "exec", "--exec-id", name, id, ...command);
  }

  /** Ends and removes a started container. */
  async end(id: string): Promise<void> {
    const { containerd } = this;
    await containerd.ctr(...IN_NAMESPACE, "tasks", "kill", "--signal", "SIGKILL", id);
    const rows = async () => (await containerd.ctr(...IN_NAMESPACE, "tasks", "ls")).split("\n");
    await until("the task has ended", async () => (await rows()).some((row) => /STOPPED/.test(row)), 50);
    await containerd.ctr(...IN_NAMESPACE, "tasks", "delete", id);
    await containerd.ctr(...IN_NAMESPACE, "containers", "delete", id);
  }

  /** Removes an image, and then every name that Kubernetes' plugin has given to others. */
  async remove(reference: string): Promise<void> {
    await removeByCri(this.containerd.socket, reference);
    const names = (await this.containerd.ctr(...IN_NAMESPACE, "images", "ls", "--quiet")).split("\n");
    for (const name of names) {
      if (name !== "") await this.containerd.ctr(...IN_NAMESPACE, "images", "rm", "--sync", name);
    }
  }

  /** Kills `serve`, and starts another. */
  async crashDriver(): Promise<void> {
    await this.driver.kill();
    this.driver = await SandboxedServe.start(this.driverOptions);
    await this.containerd.reconnected(NAMESPACE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    await this.parts.disposeAsync();
  }
}

/**
 * Asserts that no snapshot and no mount of one is left.
 *
 * @param sandbox where `serve` runs
 * @param dir its scratch directory
 */
export async function requireNoSnapshots(sandbox: Sandbox, dir: string): Promise<void> {
  await untilEqual(() => leftIn(sandbox, dir), [], 50);
}

async function leftIn(sandbox: Sandbox, dir: string): Promise<string[]> {
  const left: string[] = [];
  for (const folder of ["snapshots", "making", "removing"]) {
    const path = `${dir}/root/snapshotter/${folder}`;
    const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(path))) ?? [];
    left.push(...entries.map(({ name }) => `${folder}/${name}`));
  }
  const mounts = parseMountinfo(await sandbox.mountinfo()).filter(({ fsType }) => /^(overlay|erofs)$/.test(fsType));
  left.push(...mounts.filter(({ superOptions }) => superOptions.includes(dir)).map(({ mountPoint }) => mountPoint));
  return left;
}

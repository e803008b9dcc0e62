/**
 * Environment of an end-to-end test: registry, sandbox, `nydus-gd serve`, dockerd, and images made from the fixtures.
 *
 * @module
 */
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { DockerDaemon, type DockerDaemonOptions } from "../../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, SandboxedServe, type SandboxedServeOptions } from "../../../lib/demo/graph_driver.ts";
import { missingPrograms } from "../../../lib/demo/programs.ts";
import { pushImage } from "../../../lib/demo/push_image.ts";
import { RegistryProcess } from "../../../lib/demo/registry_process.ts";
import { Sandbox } from "../../../lib/demo/sandbox.ts";
import { Throttle } from "../../../lib/demo/throttle.ts";
import { bootstrapLayerTar, buildImage, digestOf } from "../../../lib/image/build/image_builder.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { parseMountinfo } from "../../../ffi/mountinfo.ts";
import { Containerd } from "./containerd.ts";
import { dir, file, symlink, tarOf } from "../archive/tar_builder.ts";
import { NO_PREFETCH } from "../serve/graph_driver_process.ts";
import { EXECUTABLE } from "../process/program.ts";
import { TempDir } from "../temp_dir.ts";
import { hostPlatform } from "../../../lib/oci/platform.ts";

/** Why these tests cannot run here; undefined if they can. */
export function dockerMissing(): string | undefined {
  if (Deno.uid() !== 0) return "not root";
  const missing = missingPrograms(["dockerd", "docker", "docker-registry", "unshare"]);
  return missing.length === 0 ? undefined : `${missing.join(", ")} not installed`;
}

/** The programs of busybox that tests run in a container. */
const APPLETS = ["sh", "cat", "ls", "sleep", "touch", "rm", "sha256sum", "stat", "echo", "mkdir", "tar"] as const;

/** Makes a layer with Debian's static busybox and the links that the tests use. */
export async function busyboxLayer(): Promise<Uint8Array<ArrayBuffer>> {
  return tarOf(
    dir("bin/"),
    file("bin/busybox", await Deno.readFile("/bin/busybox"), { mode: 0o755 }),
    ...APPLETS.map((applet) => symlink(`bin/${applet}`, "busybox")),
  );
}

/** A registry behind a counting proxy. */
export class CountedRegistry implements AsyncDisposable {
  /** Bytes of the ordinary layers, by reference. */
  readonly #ordinary = new Map<string, number>();

  private constructor(private readonly registry: RegistryProcess, readonly proxy: Throttle) {}

  static async start(dir: string): Promise<CountedRegistry> {
    const registry = await RegistryProcess.start(dir);
    const upstream = `http://${registry.host}`;
    return new CountedRegistry(registry, new Throttle({ upstream, bytesPerSecond: Infinity, delayMs: 0 }));
  }

  /** Host that Docker uses. */
  get host(): string {
    return this.proxy.host;
  }

  /**
   * Pushes a fixture as a lazy image with busybox and then `above` on top of it.
   *
   * @returns the reference that Docker pulls
   */
  async pushLazy(name: string, repository: string, above: readonly Uint8Array[] = []): Promise<string> {
    return await this.#pushFixture(name, repository, [await busyboxLayer(), ...above]);
  }

  /** Like {@link pushLazy}, with nothing above the bootstrap. */
  pushBare(name: string, repository: string): Promise<string> {
    return this.#pushFixture(name, repository, []);
  }

  /** Pushes an ordinary image: busybox with `above` on top of it. */
  async pushClassic(repository: string, above: readonly Uint8Array[] = []): Promise<string> {
    const built = await buildImage([await busyboxLayer(), ...above], { architecture: hostPlatform().architecture });
    await pushImage({ host: this.registry.host, repository, tag: "latest" }, built);
    return `${this.host}/${repository}:latest`;
  }

  /** Bytes that are fetched during a step. */
  async bytesDuring(step: () => Promise<unknown>): Promise<number> {
    this.proxy.reset();
    await step();
    return this.proxy.traffic().bytes;
  }

  /** Bytes of the layers above the bootstrap, which every pull downloads. */
  ordinaryBytes(reference: string): number {
    return this.#ordinary.get(reference) ?? 0;
  }

  async #pushFixture(name: string, repository: string, above: readonly Uint8Array[]): Promise<string> {
    const bootstrap = await readFixtureBootstrap(fixtureOf(name));
    const blobs = await Promise.all(
      openBootstrap(bootstrap).blobs.map(async ({ id }) => {
        const bytes = await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`);
        return { digest: digestOf(bytes), bytes };
      }),
    );
    const built = await buildImage([bootstrapLayerTar(bootstrap), ...above], {
      architecture: hostPlatform().architecture,
    });
    await pushImage({ host: this.registry.host, repository, tag: "latest" }, built, blobs);
    const reference = `${this.host}/${repository}:latest`;
    this.#ordinary.set(reference, built.layers.slice(1).reduce((sum, { bytes }) => sum + bytes.length, 0));
    return reference;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

/** Maximum milliseconds for one part of a test. */
export const SECTION_TIMEOUT_MS = 120_000;

/** A dockerd that tests can run. */
export interface Dockerd {
  readonly name: string;
  /** Why it is unavailable; undefined if it is available. */
  readonly missing: string | undefined;
  /** Whether its images are in a containerd, which has our snapshotter. */
  readonly usesContainerd?: true;
  /** Opens the system that contains dockerd and docker; absent: the machine itself. */
  open?(sandbox: Sandbox, dir: string): Promise<Pick<Sandbox, "spawn"> & AsyncDisposable>;
}

/** The dockerd that is installed. */
export const INSTALLED: Dockerd = { name: "installed dockerd", missing: dockerMissing() };

/** Options of a stack. */
export interface StackOptions {
  /** Default: {@link INSTALLED}. */
  readonly dockerd?: Dockerd;
  /** Additional arguments of dockerd. */
  readonly flags?: readonly string[];
  /** Folder of its data-root for its user namespace: "/100000.100000". Default: none. */
  readonly dataFolder?: string;
  /** nydusd's configuration file. */
  readonly config?: string;
  /** Environment of `serve`, in addition to that of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a test gets. */
export interface Stack {
  readonly stack: DockerStack;
  readonly registry: CountedRegistry;
  /** Scratch directory. */
  readonly dir: string;
  /** Starts another registry, stopped with the others. */
  startRegistry(): Promise<CountedRegistry>;
}

/** Runs `test` with its own registry and dockerd; both are gone afterwards, with everything they left. */
export async function withStack(test: (parts: Stack) => Promise<void>, options: StackOptions): Promise<void> {
  using temp = TempDir.make();
  // stopped after the stack, since a registry waits for the connections that the stack keeps open
  await using registries = new AsyncDisposableStack();
  let count = 0;
  const startRegistry = async () => registries.use(await CountedRegistry.start(`${temp.path}/registry-${count++}`));
  const registry = await startRegistry();
  // what only an image or its labels say may not lead to this machine
  const trusted = options.dockerd?.usesContainerd ? { NYDUS_GD_FETCH_TRUSTED_ORIGINS: registry.host } : {};
  await using stack = await DockerStack.start(temp.path, { ...trusted, ...options.env }, options);
  await test({ stack, registry, dir: temp.path, startRegistry });
}

/** dockerd with our graph driver. */
export class DockerStack implements AsyncDisposable {
  private constructor(
    readonly sandbox: Sandbox,
    public driver: SandboxedServe,
    public daemon: DockerDaemon,
    private readonly driverOptions: SandboxedServeOptions,
    private readonly daemonOptions: DockerDaemonOptions,
    private readonly containerd: Containerd | undefined,
    private readonly parts: AsyncDisposableStack,
    private readonly dataFolder: string,
  ) {}

  /** @param env environment of `serve`, in addition to that of this process */
  static async start(
    dir: string,
    env: Readonly<Record<string, string>> = {},
    { dockerd = INSTALLED, flags = [], dataFolder = "", config }: StackOptions = {},
  ): Promise<DockerStack> {
    await using parts = new AsyncDisposableStack();
    const sandbox = parts.use(await Sandbox.start());
    const system = await dockerd.open?.(sandbox, dir);
    parts.use(system);
    const logins = { NYDUS_GD_DOCKER_CONFIG: `${dir}/client` }; // where DockerDaemon stores them
    const snapshotterSocket = `${dir}/snapshotter.sock`;
    const usesContainerd = dockerd.usesContainerd ?? false;
    const driverOptions = {
      sandbox,
      dir,
      ...(usesContainerd ? { snapshotterSocket } : {}),
      env: { ...NO_PREFETCH, ...logins, ...env },
      ...(config === undefined ? {} : { config }),
      ...(EXECUTABLE === undefined ? {} : { program: EXECUTABLE }),
    };
    const driver = await SandboxedServe.start(driverOptions);
    const inside = system ?? sandbox;
    const containerd = usesContainerd
      ? parts.use(await Containerd.start({ sandbox: inside, dir, snapshotterSocket }))
      : undefined;
    const daemonOptions = {
      sandbox: inside,
      dir,
      flags: [...flags, ...containerd === undefined ? [] : ["--containerd", containerd.socket]],
      ...(containerd === undefined ? {} : { config: { features: { "containerd-snapshotter": true } } }),
      storageDriver: DRIVER_NAME,
    };
    const daemon = await DockerDaemon.start(daemonOptions);
    const options = [driverOptions, daemonOptions] as const;
    return new DockerStack(sandbox, driver, daemon, ...options, containerd, parts.move(), dataFolder);
  }

  /** Scratch directory. */
  get dir(): string {
    return this.driverOptions.dir;
  }

  /** The data-root. */
  get dataRoot(): string {
    return `${DockerDaemon.dataRoot(this.dir)}${this.dataFolder}`;
  }

  /** Starts a second dockerd, with overlay2 as its driver. `flags`: additional arguments. */
  startOverlay2(flags: readonly string[] = []): Promise<DockerDaemon> {
    const dir = `${this.dir}/o`; // short: socket paths in it have a length limit
    return DockerDaemon.start({ sandbox: this.daemonOptions.sandbox, dir, storageDriver: "overlay2", flags });
  }

  /** Reads the log of `serve` since its first start, one record per line. */
  async serveLog(): Promise<Record<string, unknown>[]> {
    const lines = (await Deno.readTextFile(this.driver.logPath)).split("\n");
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Runs `docker ARGS`, which must succeed. */
  docker(...args: string[]): Promise<string> {
    return this.daemon.must(args);
  }

  async restartDaemon(): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    this.daemon = await DockerDaemon.start(this.daemonOptions);
  }

  /** Like {@link restartDaemon}, but after a crash. */
  async crashDaemon(): Promise<void> {
    await this.daemon.kill();
    this.daemon = await DockerDaemon.start(this.daemonOptions);
  }

  async restartDriver(): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    this.driver = await SandboxedServe.start(this.driverOptions);
    await this.containerd?.reconnected("moby");
  }

  /** Lists the layer directories. */
  async layers(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name, isDirectory } of Deno.readDir(`${this.dataRoot}/${DRIVER_NAME}`)) {
      if (isDirectory && !name.startsWith(".") && name !== "l") names.push(name);
    }
    return names.sort();
  }

  /** Lists the mount points of the mounted layers. */
  async overlays(): Promise<string[]> {
    const mounts = parseMountinfo(await this.sandbox.mountinfo());
    const points = mounts.filter(({ fsType }) => fsType === "overlay").map(({ mountPoint }) => mountPoint);
    return points.filter((point) => point.startsWith(`${this.dir}/`));
  }

  /** Path at which a running container's files are visible from outside. */
  async rootOf(container: string): Promise<string> {
    return this.rootOfPid(Number(await this.docker("inspect", "--format", "{{.State.Pid}}", container)));
  }

  /** The same for a process, by its pid in the sandbox, which has a /proc of its own. */
  rootOfPid(inner: number): string {
    return `/proc/${this.sandbox.initPid}/root/proc/${inner}/root`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.driver[Symbol.asyncDispose]();
    await this.parts.disposeAsync();
  }
}

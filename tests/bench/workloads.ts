/**
 * The images that are started: a small Debian with a program such as node, built once from Debian packages.
 *
 * ```
 * debootstrap ─► base.tar ─► docker import ─► docker build tests/bench/workloads/NAME ─┬─► push to the registry
 *                                                                                      └─► NAME/rootfs.tar
 * ```
 * Everything is in one directory that is kept between runs. The layers are those of the Dockerfiles: a shared base, and
 * one for each installation.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../lib/base/errors.ts";
import { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { RegistryProcess } from "../../lib/demo/registry_process.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { findMirror } from "../support/docker/debian_mirror.ts";
import { output } from "./programs.ts";

/** Starts nginx, waits for its first answer, and stops it. */
const ANSWER_ONCE = `
nginx -g 'daemon off;' &
until { exec 3<>/dev/tcp/127.0.0.1/28471; } 2>/dev/null; do sleep 0.01; done
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
read -r status <&3
kill $!
wait
case $status in *' 200 '*) echo ready ;; *) echo "$status" ;; esac
`;

/** Commands of the containers, which print "ready" once they have started. */
export const WORKLOADS = {
  node: ["node", "-e", "console.log('ready')"],
  python: ["python3", "-c", "import numpy, scipy; print('ready')"],
  gcc: ["sh", "-c", "gcc -O2 -o /root/ready /src/ready.c && /root/ready"],
  java: ["java", "-cp", "/opt", "Ready"],
  nginx: ["bash", "-c", ANSWER_ONCE],
  tex: ["sh", "-c", "cd /root && pdflatex -interaction=batchmode /src/ready.tex >/dev/null && echo ready"],
} as const satisfies Record<string, readonly string[]>;

export type WorkloadName = keyof typeof WORKLOADS;

/** Those that are measured unless others are named. */
export const USUAL_WORKLOADS: readonly WorkloadName[] = ["node", "python", "gcc"];

export const ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"];

const SUITE = "bookworm";
const BASE = "bench/base";
const DOCKERFILES = decodeURIComponent(new URL("workloads", import.meta.url).pathname);

/** Makes the tar $1.tar of the Debian suite $2 from the mirror $3. apt keeps no packages, as in Docker Hub's images. */
const MAKE_BASE = `
set -e
rm -rf --one-file-system "$1"
debootstrap --force-check-gpg --variant=minbase "$2" "$1" "$3"
echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; }; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' \
  >"$1/etc/apt/apt.conf.d/docker-clean"
tar --create --file="$1.tar.part" --directory="$1" --numeric-owner --exclude='./var/cache/apt/*' \
  --exclude='./var/lib/apt/lists/*' --exclude='./dev/*' .
rm -rf --one-file-system "$1"
mv "$1.tar.part" "$1.tar"
`;

/** The directory of the workloads, and a registry that serves them. */
export class Workloads implements AsyncDisposable {
  private constructor(readonly dir: string, readonly registry: RegistryProcess) {}

  /**
   * Starts the registry and builds what it lacks: for each workload `bench/NAME:latest`, and its tree, NAME/rootfs.tar.
   *
   * @param dir directory to keep, absolute
   * @param scratch directory for the dockerd that builds; its path must be short
   * @param progress called before steps that take long
   */
  static async open(
    { dir, scratch, names, progress }: {
      dir: string;
      scratch: string;
      names: readonly WorkloadName[];
      progress: (step: string) => void;
    },
  ): Promise<Workloads> {
    await Deno.mkdir(dir, { recursive: true });
    await using cleanup = new AsyncDisposableStack();
    const registry = cleanup.use(await RegistryProcess.start(`${dir}/registry`));
    const workloads = new Workloads(dir, registry);
    if (!await exists(workloads.base)) {
      progress("making a minimal Debian");
      await makeBase(`${dir}/base`);
    }
    const missing: WorkloadName[] = [];
    for (const name of names) if (!await exists(workloads.tarOf(name))) missing.push(name);
    if (missing.length > 0) await workloads.#build(missing, scratch, progress);
    cleanup.move();
    return workloads;
  }

  /** Path of the tar with the common base of the workloads. */
  get base(): string {
    return `${this.dir}/base.tar`;
  }

  /** Path of the tar with the whole tree of the workload. */
  tarOf(name: WorkloadName): string {
    return `${this.dir}/${name}/rootfs.tar`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry[Symbol.asyncDispose]();
  }

  async #build(names: readonly WorkloadName[], scratch: string, progress: (step: string) => void): Promise<void> {
    await using sandbox = await Sandbox.start();
    const dir = `${scratch}/build`;
    await Deno.mkdir(dir);
    await using daemon = await DockerDaemon.start({ sandbox, dir, storageDriver: "overlay2" });
    const changes = ["ENV DEBIAN_FRONTEND=noninteractive", ...ENVIRONMENT.map((each) => `ENV ${each}`)];
    await daemon.must(["import", ...changes.flatMap((change) => ["--change", change]), this.base, BASE]);
    for (const name of names) {
      progress(`building the image of ${name}`);
      const tag = `${this.registry.host}/bench/${name}:latest`;
      await daemon.must(["build", "--quiet", "--network=host", "--tag", tag, `${DOCKERFILES}/${name}`]);
      await daemon.must(["push", "--quiet", tag]);
      await Deno.mkdir(`${this.dir}/${name}`, { recursive: true });
      const container = await daemon.must(["create", tag, "true"]);
      await daemon.must(["export", "--output", `${this.tarOf(name)}.part`, container]);
      await Deno.rename(`${this.tarOf(name)}.part`, this.tarOf(name));
    }
  }
}

/** Makes `path`.tar. */
async function makeBase(path: string): Promise<void> {
  const { url, missing } = await findMirror(SUITE);
  if (url === undefined) throw new NydusGdError("environment", `Cannot make a minimal Debian: ${missing}`);
  // debootstrap mounts /proc in what it makes
  await output("unshare", ["--mount", "--propagation", "private", "sh", "-c", MAKE_BASE, "sh", path, SUITE, url]);
}

export async function exists(path: string): Promise<boolean> {
  return await ignore(Deno.errors.NotFound, Deno.stat(path)) !== undefined;
}

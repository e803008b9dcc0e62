/**
 * Builds the Debian package: the same parts as the executable, put where dpkg puts and guards them.
 *
 * ```
 * /usr/bin/nydus-gd                   the launcher; nothing is unpacked at its start
 * /usr/lib/nydus-gd/FILE              the parts, replaced by an upgrade when it is unpacked
 * /usr/lib/nydus-gd/running/ID/FILE   hard links to them, made when it is configured: what programs run from
 * ```
 * Programs load parts while they run, such as the module of each new Worker. Between the unpacking and the configuration
 * of an upgrade, and `nydus-gd mount` also afterwards, they must not get those of another version. So a version has a
 * folder of its own, which is removed by the next configuration that finds no process of it.
 *
 * Installing starts and enables nothing: that is `nydus-gd setup`. An upgrade restarts a daemon that runs; a removal
 * undoes the setup first, and is refused while containers run on it. The package is made by dpkg-deb, the same from the
 * same input.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { VERSION } from "../lib/base/version.ts";
import type { PackedFile } from "./pack.ts";

/** Absolute folders on the user's machine. */
export interface InstalledFolders {
  /** Where dpkg puts the parts. */
  readonly installed: string;
  /** Where this version runs from, below {@link installed}. */
  readonly running: string;
}

/** The folders of the version `id`. */
export function installedFolders(id: string): InstalledFolders {
  const installed = "/usr/lib/nydus-gd";
  return { installed, running: `${installed}/running/${id}` };
}

/** Inputs of the package. */
export interface DebOptions {
  /** Scratch folder. */
  readonly work: string;
  /** Output folder. */
  readonly dist: string;
  /** Path of the launcher. */
  readonly launcher: string;
  readonly parts: readonly PackedFile[];
  readonly folders: InstalledFolders;
  readonly license: string;
  /** Completion scripts by the path where the shell looks for them: "usr/share/…". */
  readonly completions: ReadonlyMap<string, string>;
}

/** Debian's architecture names. */
const ARCHITECTURES = { x86_64: "amd64", aarch64: "arm64" } as const;

const TEXTS = {
  control: (architecture: string, installedKiB: number) =>
    `Package: nydus-gd
Version: ${VERSION}
Architecture: ${architecture}
Maintainer: The nydus-gd authors <nydus-gd@localhost>
Installed-Size: ${installedKiB}
Depends: libc6 (>= 2.31), libgcc-s1
Recommends: libfuse3-3 | libfuse3-4, liblz4-1, libzstd1, zlib1g
Suggests: docker.io | docker-ce | containerd
Section: admin
Priority: optional
Description: lazy-loading graph driver and snapshotter for Nydus images
 Lets Docker and containerd start a container before its image has been
 downloaded: metadata is pulled at once, file data on first touch, verified
 chunk by chunk and kept in a local cache. Contains the whole data path; no
 second daemon is needed.
`,
  // The new daemon takes over from the old one: containers of lazy images wait, then continue. Without a setup, there is
  // no service. On a file system without hard links the launcher finds no folder, and starts the parts themselves.
  postinst: ({ installed, running }: InstalledFolders) =>
    `#!/bin/sh
set -e
case $1 in configure | abort-remove)
  if ! { mkdir -p ${running} && find ${installed} -maxdepth 1 -type f -exec ln -f -t ${running} {} +; }; then
    rm -rf ${running}
  fi ;;
esac
if [ "$1" = configure ] && [ -n "$2" ] && [ -d /run/systemd/system ] && [ -e /etc/systemd/system/nydus-gd.service ]; then
  systemctl try-restart nydus-gd.service || true
fi
if [ "$1" = configure ]; then
  for other in ${dirname(running)}/*; do
    if [ "\${other##*/}" = ${basename(running)} ]; then continue; fi
    users=$(find /proc -maxdepth 2 -name exe -lname "$other/*" 2>/dev/null || true)
    if [ -z "$users" ]; then rm -rf "$other"; fi
  done
fi
`,
  // Docker must not be left with a missing storage driver. The unit shows whether it starts this program. What a damaged
  // record (status 3) keeps from being undone is left to the administrator: the package could never be removed.
  prerm: ({ running }: InstalledFolders) =>
    `#!/bin/sh
set -e
if [ "$1" = remove ] && grep -qs '^ExecStart=/usr/bin/nydus-gd ' /etc/systemd/system/nydus-gd.service; then
  status=0
  nydus-gd setup --undo --yes || status=$?
  if [ "$status" = 3 ]; then
    echo "nydus-gd: removed without undoing its setup; before Docker starts again, remove \\"storage-driver\\" from" >&2
    echo "nydus-gd: /etc/docker/daemon.json, and /etc/systemd/system/nydus-gd.service" >&2
  elif [ "$status" != 0 ]; then
    exit "$status"
  fi
fi
if [ "$1" = remove ]; then rm -rf ${dirname(running)}; fi
`,
  // Compiled code is a cache and removed with the package. State and image cache are removed on purge, except what is on
  // a file system of its own below them, and a mount point: that must not fail the purge.
  postrm: () =>
    `#!/bin/sh
set -e
rm -rf /var/cache/nydus-gd/deno-dir
rmdir /var/cache/nydus-gd 2>/dev/null || true
if [ "$1" = purge ]; then
  if [ -n "$(ls /var/lib/nydus-gd/snapshotter/snapshots 2>/dev/null)" ]; then
    echo "nydus-gd: containerd does not know that the snapshots of its images are removed: before such an image is used" >&2
    echo "nydus-gd: with nydus-gd again, remove it (docker rmi, ctr images rm) and pull it" >&2
  fi
  rm -rf --one-file-system /var/lib/nydus-gd ||
    echo "nydus-gd: what is mounted at or below /var/lib/nydus-gd was not removed" >&2
fi
`,
} as const;

/** Builds the package and returns its path. */
export async function buildDeb(options: DebOptions): Promise<string> {
  if (Deno.build.arch !== "x86_64" && Deno.build.arch !== "aarch64") {
    throw new Error(`Cannot build package: Debian has no name for ${Deno.build.arch}`);
  }
  const architecture = ARCHITECTURES[Deno.build.arch];
  const tree = join(options.work, "deb");
  const completionDirs = [...options.completions.keys()].map((path) => dirname(path));
  const { installed } = options.folders;
  const dirs = ["DEBIAN", "usr/bin", "usr/share/doc/nydus-gd", installed.slice(1), ...completionDirs];
  for (const folder of dirs) await Deno.mkdir(join(tree, folder), { recursive: true, mode: 0o755 });
  let sizeBytes = 0;
  const put = async (from: string, to: string, mode: number) => {
    await Deno.copyFile(from, join(tree, to));
    await Deno.chmod(join(tree, to), mode);
    sizeBytes += (await Deno.stat(from)).size;
  };
  await put(options.launcher, "usr/bin/nydus-gd", 0o755);
  await put(options.license, "usr/share/doc/nydus-gd/copyright", 0o644);
  for (const [path, text] of options.completions) await Deno.writeTextFile(join(tree, path), text, { mode: 0o644 });
  for (const part of options.parts) await put(part.path, join(installed, part.name), part.mode);
  const control = TEXTS.control(architecture, Math.ceil(sizeBytes / 1024));
  await Deno.writeTextFile(join(tree, "DEBIAN/control"), control, { mode: 0o644 });
  for (const script of ["postinst", "prerm", "postrm"] as const) {
    await Deno.writeTextFile(join(tree, "DEBIAN", script), TEXTS[script](options.folders), { mode: 0o755 });
  }
  const target = join(options.dist, `nydus-gd_${VERSION}_${architecture}.deb`);
  const fresh = join(options.work, "package.deb");
  // zstd at a middle level: xz takes a minute for a tenth less.
  const { success, code } = await new Deno.Command("dpkg-deb", {
    args: ["--root-owner-group", "-Zzstd", "-z10", "--build", tree, fresh],
    stdin: "null",
    stdout: "null",
  }).spawn().status;
  if (!success) throw new Error(`Cannot build package: dpkg-deb ended with ${code}`);
  await Deno.rename(fresh, target);
  return target;
}

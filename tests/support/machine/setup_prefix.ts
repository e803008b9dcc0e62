/**
 * A machine as a directory tree, for tests of setup that compare it before and after.
 *
 * @module
 */
import { Host } from "../../../lib/setup/host.ts";
import { TempDir } from "../temp_dir.ts";

/** Removed with its scratch directory. */
export class PrefixMachine implements Disposable {
  readonly #temp = TempDir.make();
  readonly host: Host;

  constructor() {
    this.host = new Host(this.#temp.path);
  }

  /** Writes a file of the machine. */
  write(path: string, text: string, mode = 0o644): void {
    const place = this.host.at(path);
    Deno.mkdirSync(place.slice(0, place.lastIndexOf("/")), { recursive: true });
    Deno.writeTextFileSync(place, text);
    Deno.chmodSync(place, mode);
  }

  read(path: string): string {
    return Deno.readTextFileSync(this.host.at(path));
  }

  /** Installs a dockerd that only reports this version. */
  hasDocker(version: string): void {
    this.write("/usr/bin/dockerd", `#!/bin/sh\necho "Docker version ${version}, build x"\n`, 0o755);
    this.write(
      "/lib/systemd/system/docker.service",
      "[Service]\nExecStart=/usr/bin/dockerd -H fd://\nExecReload=/bin/kill -s HUP $MAINPID\n",
    );
  }

  /** Installs a containerd, with its configuration if there is one. */
  hasContainerd(config?: string): void {
    this.write("/usr/bin/containerd", "", 0o755);
    this.write("/lib/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n");
    if (config !== undefined) this.write("/etc/containerd/config.toml", config, 0o640);
  }

  /** Lists every directory, file and link with mode and content, except setup's own records. */
  tree(): string[] {
    return [...this.#walk("")].sort();
  }

  *#walk(folder: string): Iterable<string> {
    for (const { name, isDirectory, isSymlink } of Deno.readDirSync(this.host.at(`/${folder}`))) {
      const path = `${folder}/${name}`;
      if (path === "/var") continue;
      const mode = ((Deno.lstatSync(this.host.at(path)).mode ?? 0) & 0o7777).toString(8);
      if (isSymlink) yield `${path} -> ${Deno.readLinkSync(this.host.at(path))}`;
      else if (isDirectory) {
        yield `${path}/ ${mode}`;
        yield* this.#walk(path);
      } else yield `${path} ${mode} ${JSON.stringify(this.read(path))}`;
    }
  }

  [Symbol.dispose](): void {
    this.#temp[Symbol.dispose]();
  }
}

/**
 * Converted images, pulled by a real containerd.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ignore } from "../../lib/base/errors.ts";
import { run } from "../support/command.ts";
import { DockerRegistry, dockerRegistryMissing } from "../support/docker_registry.ts";
import { writeLayout } from "../support/layout_builder.ts";
import { dir, file, tarOf } from "../support/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

const CONTAINERD = "/usr/bin/containerd";
const isHere = await ignore(Deno.errors.NotFound, Deno.stat(CONTAINERD)) !== undefined;
const missing = dockerRegistryMissing ?? (isHere && Deno.uid() === 0 ? undefined : `without root or ${CONTAINERD}`);
if (missing !== undefined) console.log(`skipped, containerd: ${missing}`);

/** A containerd with its own folders. */
class Containerd implements AsyncDisposable {
  private constructor(private readonly socket: string, private readonly child: Deno.ChildProcess) {}

  /** Resolves when it answers. */
  static async start(folder: string): Promise<Containerd> {
    const socket = `${folder}/c.sock`;
    const config = [
      "version = 2",
      `root = "${folder}/root"`,
      `state = "${folder}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]',
      "[grpc]",
      `address = "${socket}"`,
    ];
    await Deno.writeTextFile(`${folder}/config.toml`, config.join("\n"));
    const args = ["--config", `${folder}/config.toml`, "--log-level", "error"];
    const child = new Deno.Command(CONTAINERD, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    const containerd = new Containerd(socket, child);
    await containerd.ctr("version");
    return containerd;
  }

  /** Output of `ctr`. */
  async ctr(...words: string[]): Promise<string> {
    const args = ["--address", this.socket, "--connect-timeout", "60s", ...words];
    const { success, stdout, stderr } = await new Deno.Command("ctr", { args, stdin: "null" }).output();
    assert.ok(success, `ctr ${words.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGTERM");
    await this.child.status;
  }
}

Deno.test({
  name: "containerd pulls all of a converted image by its name, through its bootstrap manifest",
  ignore: missing !== undefined,
  fn: async () => {
    using temp = TempDir.make();
    await using registry = await DockerRegistry.start();
    await writeLayout(temp.join("source"), {
      layers: [{ tar: tarOf(dir("d"), file("d/f", "x".repeat(300_000))) }],
      osFeatures: ["x-fast"],
      attested: "how it was built",
    });
    const target = `${registry.host}/app:1-lazy`;
    const made = await run(["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", temp.join("work")]);
    assert.equal(made.code, 0, made.stderr);

    await using containerd = await Containerd.start(temp.path);
    const snapshotter = ["--snapshotter", "native"];
    await containerd.ctr("images", "pull", "--plain-http", "--platform", "linux/amd64", ...snapshotter, target);
    assert.match(await containerd.ctr("images", "check", ...snapshotter), /complete \(\d\/\d\)/);
    await Deno.mkdir(temp.join("mnt"));
    await containerd.ctr("images", "mount", ...snapshotter, target, temp.join("mnt"));
    try {
      const shown = await run(["inspect", temp.join("mnt/image/image.boot"), "/d/f", "-o", "json"]);
      assert.equal(shown.code, 0, shown.stderr);
    } finally {
      await containerd.ctr("images", "unmount", temp.join("mnt"));
    }
  },
});

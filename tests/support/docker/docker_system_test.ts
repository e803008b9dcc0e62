import { equal } from "node:assert/strict";
import { isSystem } from "./docker_system.ts";
import { TempDir } from "../temp_dir.ts";

/** dpkg's record of an installed package. */
function installed(name: string): string {
  return `Package: ${name}\nStatus: install ok installed\nMaintainer: a\nArchitecture: all\nVersion: 1\nDescription: b\n\n`;
}

Deno.test("a system that an earlier recipe has made, with fewer packages or of another release, is made anew", async () => {
  using temp = TempDir.make();
  for (const folder of ["info", "updates", "triggers"]) {
    await Deno.mkdir(temp.join(`var/lib/dpkg/${folder}`), { recursive: true });
  }
  await Deno.mkdir(temp.join("etc/apt"), { recursive: true });
  await Deno.writeTextFile(temp.join("var/lib/dpkg/status"), installed("docker.io") + installed("runc"));
  await Deno.writeTextFile(temp.join("etc/apt/sources.list"), "deb http://mirror.example/debian trixie main\n");
  equal(await isSystem(temp.path, "docker.io,runc", "trixie"), true);
  equal(await isSystem(temp.path, "docker.io,runc,systemd", "trixie"), false);
  equal(await isSystem(temp.path, "docker.io,runc", "sid"), false);
  equal(await isSystem(temp.join("none"), "docker.io", "trixie"), false);
});

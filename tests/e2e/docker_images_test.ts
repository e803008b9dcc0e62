/**
 * Images made from containers: commits, limits, imports, and byte-exact pushes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DOCKER_26, testsOn } from "../support/docker/dockerds.ts";

const LAZY = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];

const { test } = testsOn(DOCKER_26);

test("an ordinary image is pushed to another repository byte for byte", async ({ stack, registry }) => {
  const classic = await registry.pushClassic("classic/app");
  await stack.docker("pull", "--quiet", classic);
  await stack.docker("create", "--name", "changed", ...NO_NETWORK, classic, "/bin/sh");
  await stack.docker("cp", "/etc/hostname", "changed:/copied");
  await stack.docker("commit", "changed", `${registry.host}/other/app`);
  await stack.docker("push", "--quiet", `${registry.host}/other/app`);
  const id = await stack.docker("image", "inspect", "--format", "{{.Id}}", `${registry.host}/other/app`);
  await stack.docker("rm", "changed");
  await stack.docker("system", "prune", "--all", "--force");
  assert.deepEqual(await stack.layers(), []);
  await stack.docker("pull", "--quiet", `${registry.host}/other/app`);
  assert.equal(await stack.docker("image", "inspect", "--format", "{{.Id}}", `${registry.host}/other/app`), id);
  const command = ["run", "--rm", ...NO_NETWORK, `${registry.host}/other/app`, "/bin/cat", "/copied"];
  assert.equal(await stack.docker(...command), (await Deno.readTextFile("/etc/hostname")).trim());
});

test("size limits and imports behave as on overlay2", async ({ stack, registry }) => {
  const lazy = await registry.pushLazy(LAZY, "lazy/odd");
  await stack.docker("pull", "--quiet", lazy);
  const run = (...args: string[]) => stack.docker("run", "--rm", ...NO_NETWORK, ...args);
  const limited = await stack.daemon.docker(["create", "--storage-opt", "size=1G", ...NO_NETWORK, lazy, "/bin/sh"]);
  assert.match(limited.stderr, /a size needs project quotas/);
  const script = "rm -rf /lib; mkdir /lib; echo new > /lib/new; mv /bin /moved; /moved/busybox ln /lib/new /lib/same";
  await stack.docker("run", "--name", "opaque", ...NO_NETWORK, lazy, "/bin/sh", "-c", script);
  await stack.docker("commit", "opaque", "opaque");
  assert.equal(await run("opaque", "/moved/busybox", "ls", "/lib"), "new\nsame");
  const { stdout } = await stack.daemon.docker(["cp", "opaque:/lib", "-"]);
  await stack.daemon.must(["import", "-", "imported"], { input: new TextEncoder().encode(stdout) });
  const listed = await stack.docker("image", "inspect", "--format", "{{len .RootFS.Layers}} {{.Size}}", "imported");
  assert.equal(listed, "1 4");
  await stack.docker("rm", "opaque");
  await stack.docker("rmi", "opaque", "imported", lazy);
  assert.deepEqual(await stack.layers(), []);
});

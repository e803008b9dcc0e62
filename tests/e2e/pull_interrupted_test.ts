/**
 * `nydus-gd pull` that is interrupted or killed: Docker has the image and the daemon its record, or neither, nothing
 * else is left, and the next pull works.
 *
 * @module
 */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { kill } from "../../lib/demo/sandbox.ts";
import type { DockerStack } from "../support/docker/docker_stack.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { ImagePusher, runnableImage } from "../support/image/nydus_images.ts";
import { pull, pullJson, records, startPull } from "../support/docker/pull_command.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { until } from "../support/until.ts";

/** Interrupted pulls per signal. Each is interrupted after another event, and up to so many milliseconds later. */
const EVENTS = ["", "resolved", "bootstrap", "load"] as const;
const MAX_LATER_MS = 60;

const HOUR_AGO = Date.now() / 1000 - 3_700;

/** Starts a pull, waits for an event of it and a moment more, and sends a signal. Returns the exit code. */
async function interrupted(
  stack: DockerStack,
  reference: string,
  signal: Deno.Signal,
  event: (typeof EVENTS)[number],
  env: Record<string, string>,
): Promise<number> {
  const pulling = startPull(stack, ["-o", "jsonl", reference], env);
  const reader = pulling.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const errors = new Response(pulling.stderr).text();
  for (let seen = ""; event !== "" && !seen.includes(`"event":"${event}"`);) {
    const { value } = await reader.read();
    if (value === undefined) break;
    seen += value;
  }
  await delay(Math.random() * MAX_LATER_MS);
  kill(pulling, signal);
  const { code } = await pulling.status;
  while (!(await reader.read()).done);
  await errors;
  return code;
}

/** Does what a pull does when it fails. */
async function dropRecord(stack: DockerStack, hex: string): Promise<void> {
  const path = `/proc/${stack.sandbox.initPid}/root/run/nydus-gd/admin.sock`;
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const { status } = await fetch(`http://admin/v1/pulled/sha256:${hex}`, { method: "DELETE", client });
  assert.equal(status, 204);
}

async function scratchFolders(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => `${folder}/${name}`);
}

/** Number of images with this name, which is 0 or 1. */
async function imagesNamed(stack: DockerStack, reference: string): Promise<number> {
  return (await stack.docker("images", "-q", reference)).split("\n").filter((id) => id !== "").length;
}

eachDockerd(({ test }) => {
  test("an interrupted pull leaves the image with its record, or nothing", async ({ stack, registry, dir }, t) => {
    const pusher = new ImagePusher(new RegistryClient(`http://${registry.host}`, "app"));
    await pusher.standard(await runnableImage("whole"), { tag: "1" });
    const reference = `${registry.host}/app:1`;
    const scratch = `${dir}/tmp`;
    await Deno.mkdir(scratch);
    const env = { TMPDIR: scratch };

    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      await t.step(`${signal} leaves the image with its record or neither, and no scratch folder`, async () => {
        for (const event of EVENTS) {
          const code = await interrupted(stack, reference, signal, event, env);
          assert.deepEqual(await scratchFolders(scratch), [], `${event}: exit ${code}`);
          assert.equal((await records(stack)).length, await imagesNamed(stack, reference), `${event}: exit ${code}`);
          if (await imagesNamed(stack, reference) > 0) await stack.docker("rmi", reference);
        }
      });
    }

    await t.step("what SIGKILL leaves is removed by a later pull", async () => {
      for (const event of EVENTS) await interrupted(stack, reference, "SIGKILL", event, env);
      for (const path of await scratchFolders(scratch)) await Deno.utime(path, HOUR_AGO, HOUR_AGO);
      await pullJson(stack, [reference], env);
      assert.deepEqual(await scratchFolders(scratch), []);
      assert.equal(await stack.docker("run", "--rm", "--network", "none", reference), "whole");
      await stack.docker("rmi", reference);
      await until("the record is gone with the image", async () => (await records(stack)).length === 0);
    });

    await t.step("another pull of the same image that fails meanwhile takes no record away", async () => {
      const pulling = startPull(stack, ["-o", "jsonl", reference], env);
      const events = pulling.stdout.pipeThrough(new TextDecoderStream());
      for await (const text of events) {
        if (!text.includes(`"event":"load"`)) continue;
        for (const name of await records(stack)) await dropRecord(stack, basename(name, ".json"));
      }
      assert.equal((await pulling.status).code, 0, await new Response(pulling.stderr).text());
      assert.equal((await records(stack)).length, 1);
      await stack.docker("rmi", reference);
    });

    await t.step("the record of a pull that was killed is removed by a later one", async () => {
      const left = `${dir}/root/state/pulled/${"0".repeat(64)}.json`;
      await pullJson(stack, [reference], env);
      const [own = ""] = await records(stack);
      await Deno.copyFile(own, left);
      await stack.restartDriver();
      assert.equal((await pull(stack, [reference], env)).code, 0);
      assert.equal((await records(stack)).length, 2, "it may be that of a pull in progress");
      await Deno.utime(left, HOUR_AGO, HOUR_AGO);
      assert.equal((await pull(stack, [reference], env)).code, 0);
      assert.deepEqual(await records(stack), [own]);
    });
  });
});

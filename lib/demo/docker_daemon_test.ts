import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { hasCode } from "../base/errors.ts";
import { DockerDaemon } from "./docker_daemon.ts";
import type { Sandbox } from "./sandbox.ts";

/** A sandbox in which every program sleeps; it tells when a docker client has started. */
function sleepingSandbox(onClient: () => void): Pick<Sandbox, "spawn"> {
  return {
    spawn(program, _args, options) {
      const outputs = { stdout: options?.stdout ?? "null", stderr: options?.stderr ?? "null" } as const;
      const child = new Deno.Command("sleep", { args: ["1000"], stdin: "null", ...outputs }).spawn();
      if (program === "docker") queueMicrotask(onClient);
      return child;
    },
  };
}

Deno.test("an abort ends a docker command that would go on", async () => {
  using temp = TempDir.make();
  await using _socket = Deno.serve({ path: temp.join("docker.sock"), onListen: () => {} }, () => new Response("OK"));
  const abort = new AbortController();
  const sandbox = sleepingSandbox(() => abort.abort());
  await using daemon = await DockerDaemon.start({ sandbox, dir: temp.path, storageDriver: "overlay2" });
  const { signal } = abort;
  await assert.rejects(daemon.must(["pull", "app"], { signal }), (error) => hasCode(error, "interrupted"));
  await assert.rejects(daemon.must(["pull", "app"], { signal }), (error) => hasCode(error, "interrupted"));
});

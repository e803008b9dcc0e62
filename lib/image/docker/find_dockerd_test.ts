import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { hasCode } from "../../base/errors.ts";
import { DockerEngine } from "./engine.ts";
import { findDockerd } from "./find_dockerd.ts";

const ignore = Deno.uid() !== 0;
if (ignore) console.log("skipped: not root");

/** Runs `test` beside a process that is called dockerd, and listens on these sockets. */
async function withDockerd(temp: TempDir, paths: readonly string[], test: (pid: number) => Promise<void>) {
  await Deno.symlink(Deno.execPath(), temp.join("dockerd"));
  const script = `for (const path of ${JSON.stringify(paths)}) Deno.listen({ transport: "unix", path });
    console.log("listening"); await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const child = new Deno.Command(temp.join("dockerd"), { args: ["eval", script], stdout: "piped" }).spawn();
  try {
    await child.stdout.getReader().read();
    await test(child.pid);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

/** Asserts how a Docker that is expected at `path` is reported. */
async function reports(path: string, message: string, hint: string): Promise<void> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  await assert.rejects(
    new DockerEngine(`unix://${path}`, http).info(undefined),
    (error) =>
      hasCode(error, "unavailable") && assert.deepEqual([error.message, error.hint], [message, hint]) === undefined,
  );
}

Deno.test({
  name: "a Docker that listens elsewhere is reported with its socket",
  ignore,
  async fn() {
    using temp = TempDir.make();
    const [actual, expected] = [temp.join("actual.sock"), temp.join("docker.sock")];
    await withDockerd(temp, [actual, temp.join("metrics.sock")], async (pid) => {
      assert.deepEqual(findDockerd(), { pid, sockets: [actual] });
      const where = `dockerd (process ${pid}) listens on ${actual}`;
      await reports(
        expected,
        `Cannot ask Docker: there is no socket ${expected}, ${where}`,
        `DOCKER_HOST=unix://${actual}, or docker.host in the settings`,
      );
    });
  },
});

Deno.test({
  name: "a Docker whose socket was removed has to be restarted, not started",
  ignore,
  async fn() {
    using temp = TempDir.make();
    const path = temp.join("docker.sock");
    await withDockerd(temp, [path], async (pid) => {
      await Deno.remove(path);
      const state = `the socket ${path} of dockerd (process ${pid}) was removed`;
      await reports(path, `Cannot ask Docker: ${state}`, "restart dockerd");
    });
  },
});

Deno.test({
  name: "a Docker without a Unix socket is told to get one",
  ignore,
  async fn() {
    using temp = TempDir.make();
    const path = temp.join("docker.sock");
    await withDockerd(temp, [], async (pid) => {
      const state = `there is no socket ${path}, dockerd (process ${pid}) listens on no Unix socket`;
      await reports(path, `Cannot ask Docker: ${state}`, `start dockerd with --host unix://${path}`);
    });
  },
});

import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/machine/doctor_installation.ts";
import { IDLE_STATUS } from "../../tests/support/serve/idle_status.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { VERSION } from "../base/version.ts";
import type { CheckResult } from "./check.ts";
import { daemonChecks } from "./daemon_checks.ts";

/** Results of the checks for a daemon with this response. */
async function judge(answers: Record<string, () => Response>): Promise<(name: string) => CheckResult> {
  using temp = TempDir.make();
  await using _daemon = Deno.serve({ path: temp.join("admin.sock"), onListen: () => {} }, (request) => {
    return answers[new URL(request.url).pathname]?.() ?? new Response("", { status: 404 });
  });
  using installation = await installationIn(temp);
  const found = await results(daemonChecks(installation));
  return (name) => found.get(name) ?? assert.fail(`no check ${name}`);
}

Deno.test("a daemon of another version must be restarted", async () => {
  const status = (version: string) => ({ "/v1/status": () => Response.json({ ...IDLE_STATUS, version }) });
  assert.equal((await judge(status(VERSION)))("running version").verdict, "ok");
  const { verdict, seen, mend } = (await judge(status("0.0.9")))("running version");
  assert.deepEqual([verdict, mend], ["warn", "systemctl restart nydus-gd.service"]);
  assert.match(seen, /the daemon is 0\.0\.9, this program is /);
});

Deno.test("an unhealthy or degraded daemon is reported with the reason", async () => {
  const unhealthy = () => Response.json({ status: "failed", reasons: ["one", "two"] }, { status: 503 });
  const { verdict, seen, mend } = (await judge({ "/healthz": unhealthy }))("health");
  assert.deepEqual([verdict, seen, mend], ["fail", "one; two", "nydus-gd status"]);
  const degraded = {
    "/healthz": () => Response.json({ status: "ok", reasons: [] }),
    "/v1/status": () => Response.json({ ...IDLE_STATUS, problems: [{ severity: "degraded", message: "three" }] }),
  };
  const poorly = (await judge(degraded))("health");
  assert.deepEqual([poorly.verdict, poorly.seen, poorly.mend], ["warn", "three", "nydus-gd status"]);
  const foreign = (await judge({ "/healthz": () => new Response("<html>") }))("health");
  assert.equal(foreign.verdict, "fail");
});

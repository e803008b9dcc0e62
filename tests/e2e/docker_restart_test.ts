/**
 * Running containers continue or come back when dockerd or the driver stops or crashes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { type DockerStack } from "../support/docker/docker_stack.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { fixtureOf, readListing } from "../support/rafs/rafs_fixtures.ts";
import { until } from "../support/until.ts";

const LAZY = "v6-prefetch-fs";
const DIGEST = ["/bin/sha256sum", "/lib/mod03.txt"];
const OTHERS = ["/bin/sha256sum", "/lib/mod04.txt", "/lib/mod05.txt"];
const NO_NETWORK = ["--network", "none"];
const SLEEP = ["/bin/sleep", "1000"];

eachDockerd(({ test }) => {
  test("running containers survive any end of dockerd and of the driver", async ({ stack, registry }, t) => {
    const lazy = await registry.pushLazy(LAZY, "lazy/live");
    const classic = await registry.pushClassic("classic/live");
    for (const [name, image] of [["lazy", lazy], ["classic", classic]] as const) {
      await stack.docker("pull", "--quiet", image);
      await stack.docker("run", "--detach", "--name", name, ...NO_NETWORK, image, ...SLEEP);
    }
    const digest = await stack.docker("exec", "lazy", ...DIGEST);
    const states = () => stack.docker("inspect", "--format", "{{.State.Pid}} {{.State.Status}}", "lazy", "classic");
    const before = await states();
    const goOn = async () => {
      assert.equal(await states(), before);
      await requireNoLeaks(stack);
      assert.equal(await stack.docker("exec", "classic", "/bin/echo", "here"), "here");
      await stack.docker("exec", "classic", "/bin/touch", "/written");
    };

    for (
      const [end, restart] of [["stop", () => stack.restartDaemon()], ["crash", () => stack.crashDaemon()]] as const
    ) {
      await t.step(`containers run on after a ${end} of dockerd`, async () => {
        await restart();
        await goOn();
        assert.equal(await stack.docker("exec", "lazy", ...DIGEST), digest);
      });
    }
    await t.step("files that were not read before can be read", async () => {
      const others = await stack.docker("exec", "lazy", ...OTHERS);
      assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, lazy, ...OTHERS), others);
    });

    for (const end of ["stop", "crash"] as const) {
      await t.step(`containers run on, and read what is new to them, after a ${end} of the driver`, async () => {
        const running = await states();
        if (end === "crash") await stack.driver.kill();
        await stack.restartDriver();
        assert.equal(await states(), running);
        assert.equal(await stack.docker("exec", "classic", "/bin/cat", "/written"), "");
        const unread = end === "crash" ? "/lib/mod21.txt" : "/lib/mod20.txt";
        const [found] = (await stack.docker("exec", "lazy", "/bin/sha256sum", unread)).split(" ");
        assert.equal(found, readListing(fixtureOf(LAZY).listing).find(({ path }) => path === unread)?.sha256);
        assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, lazy, ...DIGEST), digest);
        await stack.docker("restart", "--time", "0", "lazy");
        assert.equal(await stack.docker("exec", "lazy", ...DIGEST), digest);
        await requireNoLeaks(stack);
      });
    }

    await stack.docker("rm", "--force", "lazy", "classic");
    await stack.docker("rmi", lazy, classic);
    assert.deepEqual([await stack.overlays(), await stack.layers()], [[], []]);
  }, { flags: ["--live-restore"] });

  test("containers are restarted according to their restart policy", async ({ stack, registry }, t) => {
    const lazy = await registry.pushLazy(LAZY, "lazy/policies");
    const classic = await registry.pushClassic("classic/policies");
    const policies = { "always": lazy, "unless-stopped": classic, "no": lazy };
    for (const [policy, image] of Object.entries(policies)) {
      const options = ["--detach", "--name", policy, "--restart", policy, "--stop-timeout", "0", ...NO_NETWORK];
      await stack.docker("run", ...options, image, "/bin/sh", "-c", `echo ${policy} > /own; exec sleep 1000`);
    }
    await stack.docker(
      "run",
      "--detach",
      "--name",
      "stopped",
      "--restart",
      "unless-stopped",
      ...NO_NETWORK,
      lazy,
      ...SLEEP,
    );
    await stack.docker("stop", "--time", "0", "stopped");
    const digest = await stack.docker("exec", "always", ...DIGEST);

    // A dockerd that finds containers of a crashed one stops them as a user would: "unless-stopped" stays stopped.
    const restarts = [
      ["dockerd stopped", ["always", "unless-stopped"], () => stack.restartDaemon()],
      ["dockerd crashed", ["always"], () => stack.crashDaemon()],
      ["dockerd and the driver crashed", ["always"], async () => {
        await stack.daemon.kill();
        await stack.driver.kill();
        await stack.restartDriver();
        await stack.crashDaemon();
      }],
    ] as const;
    for (const [name, comeBack, restart] of restarts) {
      await t.step(name, async () => {
        await restart();
        await running(stack, comeBack);
        await requireNoLeaks(stack);
        assert.equal(await stack.docker("exec", "always", ...DIGEST), digest);
        for (const container of comeBack) {
          assert.equal(await stack.docker("exec", container, "/bin/cat", "/own"), container);
        }
      });
    }
    await t.step("other containers can be started", async () => {
      await stack.docker("start", "no", "stopped");
      assert.equal(await stack.docker("exec", "stopped", ...DIGEST), digest);
      assert.equal(await stack.docker("exec", "no", ...DIGEST), digest);
      await stack.docker("rm", "--force", "always", "unless-stopped", "no", "stopped");
      await requireNoLeaks(stack);
    });
  });
});

/** Polls until exactly these containers run: dockerd starts them some time after it answers. */
function running(stack: DockerStack, names: readonly string[]): Promise<void> {
  const found = async () => (await stack.docker("ps", "--format", "{{.Names}}")).split("\n").sort();
  return until(`${names} run`, async () => (await found()).join() === names.join(), 100);
}

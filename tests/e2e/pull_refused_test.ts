/**
 * Errors of `nydus-gd pull`: a message for each reason, with the remedy. Nothing is left behind.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { kill } from "../../lib/demo/sandbox.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { ImagePusher, OTHER_PLATFORM, PLATFORM, runnableImage, runnableTree } from "../support/image/nydus_images.ts";
import { pull, pullJson, records, startPull } from "../support/docker/pull_command.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

eachDockerd(({ test }) => {
  test("what cannot be pulled is refused with the reason, and leaves nothing", async ({ stack, registry }, t) => {
    await using locked = await FakeRegistry.start({ auth: "basic", user: "alice", password: "secret" });
    const pusher = new ImagePusher(new RegistryClient(`http://${registry.host}`, "app"));
    const lazy = await runnableImage("never");
    await pusher.standard(lazy, { tag: "1.0" });
    await pusher.standard(lazy, { tag: "foreign", platform: OTHER_PLATFORM });
    await pusher.index("others", [{ ...await pusher.standard(lazy), platform: OTHER_PLATFORM }]);
    await pusher.classic([tarOf(file("values.yaml"))], {
      tag: "chart",
      configType: "application/vnd.cncf.helm.config.v1+json",
    });
    const gone = await pusher.standard(await runnableImage("gone"), { tag: "gone" });
    await pusher.standard({ ...lazy, bootstrap: new Uint8Array(9000) }, { tag: "damaged" });
    const response = await fetch(`http://${registry.host}/v2/app/manifests/${gone.digest}`, {
      headers: { accept: gone.mediaType },
    });
    const [blob] = (await response.json()).layers;
    const deleted = await fetch(`http://${registry.host}/v2/app/blobs/${blob.digest}`, { method: "DELETE" });
    await deleted.body?.cancel();
    assert.equal(deleted.status, 202);

    const name = (tag: string) => `${registry.host}/app:${tag}`;
    const own = `${PLATFORM.os}/${PLATFORM.architecture}`,
      other = `${OTHER_PLATFORM.os}/${OTHER_PLATFORM.architecture}`;
    const cases: readonly [what: string, args: string[], sentence: string, hint: string | undefined][] = [
      [
        "no such repository",
        [`${registry.host}/nothing`],
        "pull .*/nothing:latest: .* has no repository nothing",
        "check the name",
      ],
      ["no such tag", [name("2.0")], "pull .*:2.0: .*/app has no tag 2.0", "check the name"],
      [
        "no access",
        [`${locked.host}/app`],
        "pull .*: .* denies access to app, or has no such repository: .*refused",
        "docker login",
      ],
      ["another platform", [name("foreign")], `pull .*: it is for ${other}.*, not ${own}`, `--platform ${other}`],
      [
        "no such platform",
        [name("others")],
        `read image .*: nothing for ${own}.*, there is ${other}`,
        `--platform ${other}`,
      ],
      [
        "no image",
        [name("chart")],
        "pull .*: it is not an image, its configuration is application/vnd.cncf.helm",
        undefined,
      ],
      [
        "blobs gone",
        [name("gone")],
        "pull .*: 1 of its 1 blobs is gone from registry .*: [0-9a-f]{64}",
        "push the image again",
      ],
      ["damaged", [name("damaged")], "read RAFS", undefined],
      [
        "no Docker",
        ["--docker-host", "unix:///nowhere.sock", name("1.0")],
        "ask Docker: there is no socket /nowhere.sock, dockerd \\(process \\d+\\) listens on /.*\\.sock",
        "DOCKER_HOST=unix:///.*\\.sock, or docker.host",
      ],
      [
        "Docker elsewhere",
        ["--docker-host", "tcp://127.0.0.1:2375", name("1.0")],
        'use Docker at "tcp://127.0.0.1:2375": it is not a unix:// socket',
        "run nydus-gd on the daemon's machine",
      ],
      [
        "no daemon",
        ["--admin-socket", "/nowhere.sock", name("1.0")],
        "query the daemon at /nowhere.sock: no daemon answers",
        "systemctl start nydus-gd",
      ],
    ];
    for (const [what, args, sentence, hint] of cases) {
      await t.step(what, async () => {
        const { code, stdout, stderr } = await pull(stack, args);
        assert.deepEqual([code, stdout], [1, ""], stderr);
        const said = stderr.trimEnd().split("\n").filter((line) => /^(nydus-gd|hint):/.test(line));
        assert.match(said[0] ?? "", new RegExp(`^nydus-gd: cannot ${sentence}`));
        assert.match(said[1] ?? "", hint === undefined ? /^$/ : new RegExp(`^hint: ${hint}`));
      });
    }

    await t.step("for a Docker with another driver a lazy image is refused, an ordinary one is pulled", async () => {
      await using overlay2 = await stack.startOverlay2();
      const env = { DOCKER_HOST: overlay2.host };
      const refused = await pull(stack, [name("1.0")], env);
      assert.match(
        refused.stderr,
        /it is a nydus image, and Docker \S+ uses the storage driver overlay2\nhint: nydus-gd setup\n/,
      );
      await pusher.classic([await runnableTree("whole")], { tag: "classic" });
      assert.equal((await pullJson(stack, [name("classic")], env)).form, "classic");
    });

    await t.step("an interrupt while Docker pulls ends the command with status 130", async () => {
      const above = [tarOf(file("large", new Uint8Array(randomBytes(300_000))))];
      await pusher.bootstrapOnly(lazy, above, { tag: "large" });
      await using slow = new Throttle({ upstream: `http://${registry.host}`, bytesPerSecond: 40_000, delayMs: 0 });
      const pulling = startPull(stack, [`${slow.host}/app:large`]);
      const output = pulling.output();
      let ended = false;
      output.then(() => ended = true);
      await until("the image is recorded", async () => ended || (await records(stack)).length > 0);
      kill(pulling, "SIGINT");
      const { code, stderr } = await output;
      assert.equal(code, 130, new TextDecoder().decode(stderr));
    });

    await requireNoLeaks(stack);
    assert.deepEqual(await records(stack), []);
  });
});

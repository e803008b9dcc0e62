/**
 * BuildKit, the builder of newer Docker versions, on the graph driver: it creates layers with Create, writes into them
 * and never sends an ApplyDiff.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import type { DockerStack } from "../support/docker/docker_stack.ts";
import { DOCKER_26, testsOn } from "../support/docker/dockerds.ts";

const LAZY = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];

const { test } = testsOn(DOCKER_26);

test("BuildKit builds FROM lazy and ordinary images, and uses its cache the second time", async (parts, t) => {
  const { stack, registry, dir } = parts;
  const lazy = await registry.pushLazy(LAZY, "lazy/base");
  const classic = await registry.pushClassic("classic/base");
  const context = `${dir}/context`;
  await Deno.mkdir(context);
  await Deno.writeTextFile(`${context}/file`, "from the context\n");
  const digest = "sha256sum /lib/mod03.txt";
  const run = (image: string, ...command: string[]) => stack.docker("run", "--rm", ...NO_NETWORK, image, ...command);
  const expected = await run(lazy, "/bin/sh", "-c", `/bin/${digest}`);

  for (const [name, image] of [["lazy", lazy], ["ordinary", classic]] as const) {
    await t.step(`RUN, COPY and a removed file on the ${name} image`, async () => {
      await Deno.writeTextFile(
        `${context}/Dockerfile`,
        `FROM ${image}\nRUN /bin/echo built > /built\nCOPY file /sub/file\nRUN /bin/rm /bin/tar\n` +
          `CMD ["/bin/cat", "/built", "/sub/file"]\n`,
      );
      const steps = await build(stack, `built-${name}`, context);
      assert.ok(!steps.includes("CACHED"), steps);
      assert.equal(await run(`built-${name}`), "built\nfrom the context");
      assert.equal(await run(`built-${name}`, "/bin/sh", "-c", "/bin/ls /bin/tar 2>/dev/null; /bin/echo gone"), "gone");
      assert.equal((await build(stack, `again-${name}`, context)).match(/CACHED/g)?.length, 3);
      assert.equal(await idOf(stack, `again-${name}`), await idOf(stack, `built-${name}`));
    });
  }

  await t.step("layers above the lazy image show its files", async () => {
    assert.equal(await run("built-lazy", "/bin/sh", "-c", `/bin/${digest}`), expected);
  });

  await t.step("several stages, with files of the lazy image copied into an ordinary one", async () => {
    await Deno.writeTextFile(
      `${context}/Dockerfile`,
      `FROM ${lazy} AS first\nRUN /bin/${digest} > /sum && /bin/mkdir /made && /bin/echo 1 > /made/one\n` +
        `FROM first AS second\nRUN /bin/rm /made/one && /bin/echo 2 > /made/two\n` +
        `FROM ${classic}\nCOPY --from=second /sum /made /out/\nCOPY --from=${lazy} /lib/mod03.txt /lib/mod03.txt\n`,
    );
    await build(stack, "staged", context);
    const shown = await run("staged", "/bin/sh", "-c", `/bin/cat /out/sum; /bin/${digest}; /bin/ls /out`);
    assert.equal(shown, `${expected}\n${expected}\nsum\ntwo`);
  });

  await t.step("an image of a bootstrap alone can be copied from, mounted and built upon", async () => {
    const bare = await registry.pushBare(LAZY, "lazy/bare");
    await Deno.writeTextFile(
      `${context}/Dockerfile`,
      `FROM ${bare} AS grown\nCOPY file /lib/added\nFROM ${classic}\nCOPY --from=${bare} /lib/mod03.txt /a\n` +
        `COPY --from=grown /lib/mod03.txt /lib/added /b/\n` +
        `RUN --mount=type=bind,from=${bare},target=/src --mount=type=cache,target=/cache ` +
        `/bin/cat /src/lib/mod03.txt > /c && /bin/cat /c > /cache/kept\n`,
    );
    await build(stack, "bare", context);
    const digests = (await run("bare", "/bin/sha256sum", "/a", "/b/mod03.txt", "/c")).split("\n");
    assert.deepEqual(digests.map((line) => line.split(" ")[0]), Array(3).fill(expected.split(" ")[0]));
    assert.equal(await run("bare", "/bin/cat", "/b/added"), "from the context");
  });

  await t.step("a replaced folder, linked copies and changed owners are kept", async () => {
    await Deno.writeTextFile(
      `${context}/Dockerfile`,
      `FROM ${lazy}\nRUN /bin/rm -rf /lib && /bin/mkdir /lib && /bin/echo new > /lib/new\n` +
        `COPY --link --chown=7:8 --chmod=640 file /linked/file\nCOPY --link file /lib/file\n`,
    );
    await build(stack, "replaced", context);
    const shown = await run("replaced", "/bin/sh", "-c", "/bin/ls /lib; /bin/stat -c '%u %g %a' /linked/file");
    assert.equal(shown, "file\nnew\n7 8 640");
  });

  await t.step("a failed build does not affect the next one", async () => {
    await Deno.writeTextFile(`${context}/Dockerfile`, `FROM ${lazy}\nRUN /bin/echo x > /x && false\n`);
    await assert.rejects(build(stack, "broken", context));
    assert.equal(await run(lazy, "/bin/sh", "-c", "/bin/ls /x 2>/dev/null; /bin/echo none"), "none");
  });

  await requireNoLeaks(stack);

  await t.step("a built image is pushed and pulled again", async () => {
    const pushed = `${registry.host}/lazy/base:built`;
    const id = await idOf(stack, "built-lazy");
    await stack.docker("tag", "built-lazy", pushed);
    await stack.docker("push", "--quiet", pushed);
    await stack.docker("system", "prune", "--all", "--force");
    assert.deepEqual(await stack.layers(), []);
    await stack.docker("pull", "--quiet", pushed);
    assert.equal(await idOf(stack, pushed), id);
    assert.equal(await run(pushed), "built\nfrom the context");
    assert.equal(await run(pushed, "/bin/sh", "-c", `/bin/${digest}`), expected);
  });
});

/** Runs `docker build` by BuildKit; returns the steps that it printed. */
async function build(stack: DockerStack, tag: string, context: string): Promise<string> {
  const args = ["build", "--progress=plain", ...NO_NETWORK, "--tag", tag, context];
  const { code, stderr } = await stack.daemon.docker(args, { env: { DOCKER_BUILDKIT: "1" } });
  assert.equal(code, 0, stderr);
  return stderr;
}

function idOf(stack: DockerStack, image: string): Promise<string> {
  return stack.docker("image", "inspect", "--format", "{{.Id}}", image);
}

/**
 * Runs the same tests on each available dockerd: the installed one, and 26.1, whose builder is BuildKit. Tests of images
 * in containerd run on 28.
 *
 * ```ts
 * eachDockerd(({ test }) => {
 *   test("docker info shows the driver", async ({ stack }) => assert.match(await stack.docker("info"), /nydus-gd/));
 * });
 * ```
 *
 * @module
 */
import { DockerSystem, dockerSystemMissing, makeDockerSystem } from "./docker_system.ts";
import { type Dockerd, dockerMissing, INSTALLED, type Stack, type StackOptions, withStack } from "./docker_stack.ts";

/** dockerd 26.1 of Debian 13. */
export const DOCKER_26: Dockerd = {
  name: "dockerd 26.1",
  missing: dockerMissing() ?? await dockerSystemMissing("26.1"),
  open: (sandbox, dir) => DockerSystem.open("26.1", sandbox, dir),
};

/**
 * dockerd 28 of Debian's unstable release, whose images are in its own containerd. It is made at once, since not every
 * day's unstable release can be installed.
 */
export async function docker28(): Promise<Dockerd> {
  return {
    name: "dockerd 28",
    missing: dockerMissing() ?? await makeDockerSystem("28"),
    usesContainerd: true,
    open: (sandbox, dir) => DockerSystem.open("28", sandbox, dir),
  };
}

/** Defines tests on one dockerd. */
export interface DockerTests {
  readonly dockerd: Dockerd;
  /** Defines a test with its own registry and stack. */
  test(
    name: string,
    body: (parts: Stack, context: Deno.TestContext) => Promise<void>,
    options?: Omit<StackOptions, "dockerd">,
  ): void;
}

/** Calls `define` for each dockerd; test names start with that of the dockerd. */
export function eachDockerd(define: (tests: DockerTests) => void): void {
  for (const dockerd of [INSTALLED, DOCKER_26]) define(testsOn(dockerd));
}

/** Tests on `dockerd`; skipped with a message on the console if it is unavailable. */
export function testsOn(dockerd: Dockerd): DockerTests {
  if (dockerd.missing !== undefined) console.log(`skipped, ${dockerd.name}: ${dockerd.missing}`);
  return {
    dockerd,
    test: (name, body, options = {}) =>
      Deno.test({
        name: `${dockerd.name}: ${name}`,
        ignore: dockerd.missing !== undefined,
        fn: (context) => withStack((parts) => body(parts, context), { ...options, dockerd }),
      }),
  };
}

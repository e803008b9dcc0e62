/**
 * Runs the same tests on each dockerd that there is: the installed one, and 26.1, whose builder is BuildKit.
 *
 * ```ts
 * eachDockerd(({ test }) => {
 *   test("docker info shows the driver", async ({ stack }) => assert.match(await stack.docker("info"), /nydus-gd/));
 * });
 * ```
 *
 * @module
 */
import { DockerSystem, dockerSystemMissing } from "./docker_system.ts";
import { type Dockerd, dockerMissing, INSTALLED, type Stack, type StackOptions, withStack } from "./docker_stack.ts";

/** dockerd 26.1 of Debian 13. */
export const DOCKER_26: Dockerd = {
  name: "dockerd 26.1",
  missing: dockerMissing() ?? await dockerSystemMissing(),
  open: DockerSystem.open,
};

/** Defines tests on one dockerd. */
export interface DockerTests {
  readonly dockerd: Dockerd;
  /** A test with a registry and a stack of its own. */
  test(
    name: string,
    body: (parts: Stack, context: Deno.TestContext) => Promise<void>,
    options?: Omit<StackOptions, "dockerd">,
  ): void;
}

/** Has `define` called for each dockerd; the name of each test begins with the dockerd's. */
export function eachDockerd(define: (tests: DockerTests) => void): void {
  for (const dockerd of [INSTALLED, DOCKER_26]) define(testsOn(dockerd));
}

/** Tests on `dockerd`, skipped with a word on the console where it cannot be had. */
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

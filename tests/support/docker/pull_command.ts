/**
 * Runs `nydus-gd pull` and other commands in a stack's sandbox, with its admin socket and against its dockerd.
 *
 * @module
 */
import { selfCommand } from "../../../lib/base/self_command.ts";
import type { DockerStack } from "./docker_stack.ts";
import type { RunResult } from "../process/command.ts";

/** Runs `nydus-gd pull ARGS`. */
export function startPull(
  stack: DockerStack,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Deno.ChildProcess {
  return startBeside(stack, ["pull", ...args], env);
}

function startBeside(
  stack: DockerStack,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Deno.ChildProcess {
  const [program, ...words] = selfCommand();
  return stack.sandbox.spawn(program, [...words, ...args], {
    env: { NO_COLOR: "1", DOCKER_HOST: stack.daemon.host, DOCKER_CONFIG: `${stack.dir}/client`, ...env },
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs `nydus-gd pull ARGS` to completion. */
export async function pull(
  stack: DockerStack,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  return await runBeside(stack, ["pull", ...args], env);
}

/** Runs any command of the program in the stack to completion. */
export async function runBeside(
  stack: DockerStack,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  const { code, stdout, stderr } = await startBeside(stack, args, env).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs `nydus-gd pull -o json ARGS`, which must succeed; returns its output. */
export async function pullJson(
  stack: DockerStack,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<PullDocument> {
  const { code, stdout, stderr } = await pull(stack, ["-o", "json", ...args], env);
  if (code !== 0 || stderr !== "") throw new Error(`Cannot pull ${args.join(" ")}: exit ${code}, ${stderr}`);
  return JSON.parse(stdout);
}

/** Output of `-o json`. */
export interface PullDocument {
  readonly name: string;
  readonly form: string;
  readonly platform: string;
  readonly digest: string;
  readonly image_id: string;
  readonly replaced: string | null;
  readonly lazy: {
    readonly bootstrap_bytes: number;
    readonly home: string;
    readonly blobs: readonly { readonly id: string; readonly size: number }[];
    readonly left_bytes: number;
    readonly prefetching: boolean;
  } | null;
}

/** Lists the files of the records that `pull` has handed over. */
export async function records(stack: DockerStack): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name } of Deno.readDir(`${stack.dir}/root/state/pulled`)) {
    paths.push(`${stack.dir}/root/state/pulled/${name}`);
  }
  return paths.sort();
}

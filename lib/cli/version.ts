/**
 * Implements `nydus-gd version`.
 *
 * @module
 */
import { VERSION } from "../base/version.ts";
import type { ActionContext } from "./actions.ts";
import type { VersionArgs } from "./commands/version.ts";

/** Writes the versions to standard output. */
export function showVersion({ output }: VersionArgs, { stdout }: ActionContext): Promise<void> {
  const facts = {
    version: VERSION,
    deno: Deno.version.deno,
    os: Deno.build.os,
    arch: Deno.build.arch,
    kernel: Deno.osRelease(),
  };
  stdout.write(
    output === "json"
      ? `${JSON.stringify(facts)}\n`
      : `nydus-gd ${facts.version} (deno ${facts.deno}, ${facts.os} ${facts.kernel} ${facts.arch})\n`,
  );
  return Promise.resolve();
}

/**
 * `nydus-gd serve`: the first steps of the daemon, which load little (containerd/endpoint.ts), and then the daemon.
 *
 * @module
 */
import { inheritedDescriptors } from "../ffi/libsystemd.ts";
import { NydusGdError } from "../lib/base/errors.ts";
import { warnOfLowLimits } from "../lib/base/process_limits.ts";
import { takeOverEndpoint } from "./containerd/endpoint.ts";
import type { ServeContext, ServeOptions } from "./daemon.ts";

/** Runs the daemon until the signal is aborted. */
export async function serve(args: ServeOptions, context: ServeContext): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot serve: mounting needs root", { hint: "sudo nydus-gd serve" });
  }
  inheritedDescriptors(); // before any child process starts, which must not inherit them
  warnOfLowLimits(); // before there is a chance to exceed them
  await using endpoint = await takeOverEndpoint(args.snapshotterSocket);
  const { runDaemon } = await import("./daemon.ts");
  await runDaemon(args, context, endpoint);
}

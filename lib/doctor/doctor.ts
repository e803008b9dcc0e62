/**
 * `nydus-gd doctor`: checks everything that Docker or containerd needs to start images lazily.
 *
 * ```
 * configuration ─► Installation ─► checks of each group ─► in parallel, each with its own timeout ─► results, in order
 *                                                     └─ then the trial mount, which must run alone
 * ```
 * Changes nothing and leaves nothing behind. Without root, checks that need it are skipped and listed.
 *
 * @module
 */
import type { Check, CheckResult } from "./check.ts";
import { perform } from "./check.ts";
import { backendChecks } from "./backend_checks.ts";
import { configChecks } from "./config_checks.ts";
import { containerdChecks } from "./containerd_checks.ts";
import { daemonChecks } from "./daemon_checks.ts";
import { dockerChecks } from "./docker_checks.ts";
import { kernelChecks } from "./kernel_checks.ts";
import { libraryChecks } from "./library_checks.ts";
import { storageChecks } from "./storage_checks.ts";
import { Installation, type InstallationOptions } from "./installation.ts";
import { trialChecks } from "./trial_mount.ts";

/** Result of all checks. */
export interface Diagnosis {
  readonly checks: readonly CheckResult[];
  /** Number of checks by verdict. */
  readonly counts: Readonly<Record<CheckResult["verdict"], number>>;
}

/**
 * Runs all checks.
 *
 * @param onResult called with each result, in the order of the report
 * @throws {NydusGdError} "interrupted"
 */
export async function diagnose(
  options: InstallationOptions,
  signal: AbortSignal,
  onResult: (result: CheckResult) => void = () => {},
): Promise<Diagnosis> {
  using installation = await Installation.take(options);
  const atOnce: Check[] = [
    ...kernelChecks(installation),
    ...libraryChecks(),
    ...configChecks(installation),
    ...storageChecks(installation),
    ...daemonChecks(installation),
    ...dockerChecks(installation),
    ...containerdChecks(installation),
    ...await backendChecks(installation),
  ];
  const checks: CheckResult[] = [];
  const report = (result: CheckResult) => {
    checks.push(result);
    onResult(result);
  };
  const running = atOnce.map((check) => perform(check, signal));
  // Waits for all of them before reporting a failure: an abort must not leave a promise unobserved.
  await Promise.allSettled(running);
  for (const result of running) report(await result);
  for (const check of trialChecks(installation)) report(await perform(check, signal));
  const counts = { ok: 0, warn: 0, fail: 0, skipped: 0 };
  for (const { verdict } of checks) counts[verdict]++;
  return { checks, counts };
}

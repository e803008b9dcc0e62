/**
 * Implements `nydus-gd gc`: asks the daemon, or collects garbage itself if none is running.
 *
 * @module
 */
import { bytesText } from "../../base/byte_text.ts";
import { NydusGdError } from "../../base/errors.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { readNydusdConfig, readSettings } from "../../backend/config_files.ts";
import { GarbageReport } from "../../image/gc/collect_garbage.ts";
import { collectOffline } from "../../image/gc/collect_offline.ts";
import type { ActionContext, GcArgs } from "../actions.ts";
import { DaemonAbsent, tellDaemon } from "../admin_client.ts";
import { oneLine } from "../output.ts";

/** Timeout of the daemon's response, since removing files takes time. */
const GC_TIMEOUT_MS = 600_000;

const REASONS = {
  unused: "no image uses it",
  limit: "oldest, beyond the limits",
  all: "no container uses it",
} as const;

/** Collects garbage once. */
export async function gc(args: GcArgs, { signal, stdout }: ActionContext): Promise<void> {
  const report = await ofDaemon(args, signal) ?? await byOneself(args);
  stdout.write(
    args.output === "json" ? `${JSON.stringify(report)}\n` : reportLines(report).map((line) => `${line}\n`).join(""),
  );
}

/** Asks the daemon; undefined if none is running. */
async function ofDaemon(
  { adminSocket, dryRun, all }: GcArgs,
  signal: AbortSignal,
): Promise<GarbageReport | undefined> {
  const request = { method: "POST", path: "/v1/gc", body: { dry_run: dryRun, all }, timeoutMs: GC_TIMEOUT_MS } as const;
  let document: unknown;
  try {
    document = await tellDaemon(adminSocket, request, signal);
  } catch (error) {
    if (error instanceof DaemonAbsent) return undefined;
    throw error;
  }
  const parsed = parseWith(GarbageReport, document);
  if (parsed.ok) return parsed.value;
  throw new NydusGdError("unavailable", `Cannot read the daemon's answer: ${formatPath(parsed.path)} ${parsed.state}`, {
    hint: "the daemon may be of another version: systemctl restart nydus-gd",
  });
}

async function byOneself({ root, config: configPath, settings: settingsPath, dryRun, all }: GcArgs) {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot free cache: it needs root", { hint: "sudo nydus-gd gc" });
  }
  const { cache } = await readSettings(settingsPath);
  const config = await readNydusdConfig(configPath);
  const cacheDir = cache.dir ?? config?.cache.workDir ?? `${root}/cache`;
  return await collectOffline({ root, cacheDir, limits: cache }, { dryRun, all });
}

/**
 * ```
 * 0136303d56ff  24.1 MB  last used 2026-01-31  no image uses it
 * freed 24.1 MB: 1 blob, 0 left-over files; 1.31 GB kept
 * ```
 */
function reportLines(report: GarbageReport): string[] {
  const { dry_run: dryRun, freed_bytes: freed, kernel_bytes: kernel, kept_bytes: kept, blobs, files } = report;
  const count = (things: readonly unknown[], noun: string) =>
    `${things.length} ${noun}${things.length === 1 ? "" : "s"}`;
  return [
    ...blobs.map(({ id, bytes, last_used: used, reason }) =>
      `${id.slice(0, 12)}  ${bytesText(bytes)}  last used ${used.slice(0, 10)}  ${REASONS[reason]}`
    ),
    ...files.map(({ path, bytes }) => `${path}  ${bytesText(bytes)}  left over`),
    ...(kernel === 0 ? [] : [`kernel's own cache  ${bytesText(kernel)}  no container uses it`]),
    `${dryRun ? "would free" : "freed"} ${bytesText(freed)}: ${count(blobs, "blob")}, ${
      count(files, "left-over file")
    }; ` +
    `${bytesText(kept)} kept`,
  ].map(oneLine);
}

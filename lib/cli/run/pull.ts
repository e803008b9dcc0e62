/**
 * Implements `nydus-gd pull`: maps flags to a pull, and prints progress and result.
 *
 * @module
 */
import { type BackendDeps, openBackend } from "../../backend/open_backend.ts";
import { PagedMemory } from "../../base/paged_memory.ts";
import { bytesText } from "../../base/byte_text.ts";
import { readNydusdConfig } from "../../backend/config_files.ts";
import { registryAt } from "../../image/lazy/open/backend_candidates.ts";
import type { LazyDaemon, PullEvent, PullResult } from "../../image/pull/pull.ts";
import { pullImage } from "../../image/pull/pull_image.ts";
import { SeenLogins } from "../../image/pull/seen_logins.ts";
import { snapshotterName } from "../../setup/containerd/containerd_state.ts";
import { Host } from "../../setup/host.ts";
import { formatPlatform, parsePlatform } from "../../oci/platform.ts";
import { familiarReference, parseReference } from "../../oci/reference.ts";
import type { ActionContext, PullArgs } from "../actions.ts";
import { tellDaemon } from "../admin_client.ts";
import { oneLine } from "../output.ts";
import { Progress } from "../progress.ts";
import { ImageAccess } from "./image_access.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Characters of a digest to show, as in Docker. */
const SHORT_ID = 12;

/** Pulls one image. */
export async function pull(args: PullArgs, { signal, stdout, stderr }: ActionContext): Promise<void> {
  const { output, adminSocket } = args;
  const reference = parseReference(args.reference);
  const platform = args.platform === undefined ? undefined : parsePlatform(args.platform);
  using access = await ImageAccess.open(args.settings);
  const config = await readNydusdConfig(args.config);
  const logins = new SeenLogins(access.deps.keychain);
  const deps: BackendDeps = { ...access.deps, keychain: logins };
  const backend = config?.backend;
  await using scratch = new AsyncDisposableStack();
  let result: PullResult;
  {
    using progress = new Progress(stderr);
    result = await pullImage({ reference, platform, prefetch: args.prefetch }, {
      registry: registryAt(reference, config, deps),
      configured: backend === undefined || backend.type === "registry" ? undefined : openBackend(backend, deps),
      logins,
      openMemory: async () => scratch.use(new PagedMemory(scratch.use(await ScratchFolder.make()).path)),
      docker: access.docker(args.dockerHost),
      snapshotter: await snapshotterName(new Host("/")),
      daemon: daemonAt(adminSocket, access.settings.fetch.deadlineMs),
      onEvent(event) {
        if (output === "jsonl") stdout.write(`${JSON.stringify(jsonOf(event))}\n`);
        else if (output === "text") showEvent(event, familiarReference(reference), progress);
      },
    }, signal);
  }
  if (output === "text") stdout.write(resultLines(result).map((line) => `${oneLine(line)}\n`).join(""));
  else stdout.write(`${JSON.stringify({ ...(output === "jsonl" ? { event: "done" } : {}), ...documentOf(result) })}\n`);
}

/** Returns a client of the daemon at the admin socket. */
function daemonAt(socket: string, deadlineMs: number): LazyDaemon {
  const path = (diffId: string) => `/v1/pulled/${diffId}`;
  return {
    async record(diffId, image) {
      await tellDaemon(socket, { method: "PUT", path: path(diffId), body: image }, new AbortController().signal);
    },
    async drop(diffId) {
      await tellDaemon(socket, { method: "DELETE", path: path(diffId) }, new AbortController().signal);
    },
    async prefetch(diffId, signal) {
      const request = { method: "POST", path: `${path(diffId)}/prefetch`, timeoutMs: 2 * deadlineMs } as const;
      await tellDaemon(socket, request, signal);
    },
  };
}

const FORMS = {
  "classic": "an ordinary image, which Docker pulls whole",
  "bootstrap-only": "a lazy image",
  "standard": "a nydus image",
} as const;

function showEvent(event: PullEvent, name: string, progress: Progress): void {
  switch (event.event) {
    case "resolved":
      return progress.show(name, { status: `${FORMS[event.form]}, manifest ${event.digest}` });
    case "bootstrap":
      return progress.show(`bootstrap ${shortId(event.digest)}`, {
        status: "fetching",
        current: event.bytes,
        total: event.total,
      });
    case "load":
      return progress.show("docker", { status: `loading ${event.name}` });
    case "docker": {
      const { layer, status, current, total } = event;
      return progress.show(layer ?? "docker", { status, current, total });
    }
  }
}

function jsonOf(event: PullEvent): unknown {
  return event.event === "docker" ? { ...event, layer: event.layer ?? null } : event;
}

/** Returns the document of `-o json`. Sizes in bytes. */
function documentOf({ name, form, platform, digest, imageId, replaced, lazy }: PullResult): Record<string, unknown> {
  return {
    name,
    form,
    platform: formatPlatform(platform),
    digest,
    image_id: imageId,
    replaced: replaced ?? null,
    lazy: lazy === undefined ? null : {
      bootstrap_bytes: lazy.bootstrapBytes,
      home: lazy.home,
      blobs: [...lazy.blobs].map(([id, size]) => ({ id, size })),
      left_bytes: leftBytes(lazy.blobs),
      prefetching: lazy.prefetching,
    },
  };
}

/**
 * ```
 * registry.example/app:1.0 is available as image 2892b633cb4c and starts lazily
 * fetched  2.41 MB: the bootstrap
 * left     123 MB in 3 blobs at registry registry.example/app, fetched on first access
 * ```
 */
function resultLines({ name, form, imageId, replaced, lazy }: PullResult): string[] {
  const row = (label: string, text: string) => `${label.padEnd(9)}${text}`;
  const moved = replaced === undefined ? [] : [row("moved", `the name referred to image ${shortId(replaced)} before`)];
  if (lazy === undefined) {
    const how = form === "classic" ? ", whole" : " and starts lazily";
    return [`${name} is available as image ${shortId(imageId)}${how}`, ...moved];
  }
  const { blobs, home, bootstrapBytes, prefetching } = lazy;
  const blobsText = blobs.size === 1 ? "1 blob" : `${blobs.size} blobs`;
  const when = prefetching ? "being fetched: nydus-gd status" : "fetched on first access";
  return [
    `${name} is available as image ${shortId(imageId)} and starts lazily`,
    row("fetched", `${bytesText(bootstrapBytes)}: the bootstrap`),
    row("left", `${bytesText(leftBytes(blobs))} in ${blobsText} at ${home}, ${when}`),
    ...moved,
  ];
}

function leftBytes(blobs: ReadonlyMap<string, number>): number {
  return [...blobs.values()].reduce((sum, size) => sum + size, 0);
}

function shortId(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1).slice(0, SHORT_ID);
}

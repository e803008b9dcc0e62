/**
 * The admin API: health, metrics, status, and control of a running daemon.
 *
 * | route | answer |
 * |---|---|
 * | `GET /healthz` | 200, or 503 if the daemon cannot work; `{"status", "reasons"}` |
 * | `GET /metrics` | metrics.ts |
 * | `GET /v1/status` | lib/image/lazy/report/status_document.ts |
 * | `PUT /v1/log-level` | `{"level": "debug"}`, until the next start; answers with the current level |
 * | `POST /v1/gc` | gc.ts: frees cache space |
 * | `PUT`, `DELETE /v1/pulled/DIFFID`, `POST …/prefetch` | pulled.ts: used by `nydus-gd pull` |
 * | `POST /v1/mounts/LAYER/prefetch` | 202: starts fetching the whole image; status shows the progress |
 *
 * Errors are `{"error": {"code", "message", "hint"?}}`.
 *
 * ```ts
 * await using server = await serveUnix("/run/nydus-gd/admin.sock", createAdminApp(parts));
 * ```
 * ```sh
 * curl --unix-socket /run/nydus-gd/admin.sock http://admin/v1/status
 * ```
 *
 * @module
 */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import * as v from "valibot";
import { type ErrorCode, messageOf, NydusGdError } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";
import { formatPath, parseWith } from "../../lib/base/schema.ts";
import { LOG_LEVELS } from "../../lib/base/setting_choices.ts";
import type { Settings } from "../../lib/base/settings.ts";
import { addGcRoute, type GcParts } from "./gc.ts";
import { Metrics } from "./metrics.ts";
import { addPulledRoutes, type PulledParts } from "./pulled.ts";
import { parseBody } from "./request_json.ts";
import { type AdminParts, StatusReporter, takeReport } from "./report.ts";

const log = logger("admin");

/** Dependencies of the admin app. */
export interface AdminAppParts extends AdminParts, PulledParts, GcParts {
  readonly log: {
    readonly level: Settings["log"]["level"];
    setLevel(level: Settings["log"]["level"]): void;
  };
}

const LogLevel = v.object({ level: v.picklist(LOG_LEVELS) });

const MAX_BODY_BYTES = 64 * 1024;

const STATUS_OF: Partial<Record<ErrorCode, 400 | 404>> = { usage: 400, "not-found": 404 };

/** Creates the admin app. Serve it on a Unix socket that only root can reach. */
export function createAdminApp(parts: AdminAppParts): Hono {
  const status = new StatusReporter(parts);
  const app = createObserverApp(parts);
  app.get("/v1/status", async (c) => c.json(await status.document(parts.log.level)));
  const limited = bodyLimit({
    maxSize: MAX_BODY_BYTES,
    onError: () =>
      errorResponse(new NydusGdError("usage", `Cannot read request: body exceeds ${MAX_BODY_BYTES} bytes`)),
  });
  app.put("/v1/log-level", limited, async (c) => {
    const asked = parseWith(LogLevel, parseBody(await c.req.text()));
    if (!asked.ok) {
      throw new NydusGdError("usage", `Cannot set log level: ${formatPath(asked.path)} ${asked.state}`);
    }
    const { level } = asked.value;
    log.info("log level changed", { from: parts.log.level, to: level });
    parts.log.setLevel(level);
    return c.json({ level: parts.log.level });
  });
  app.post("/v1/mounts/:id/prefetch", (c) => {
    const layer = c.req.param("id");
    const { state } = parts.images.prefetch(layer);
    return c.json({ layer, state }, 202);
  });
  app.use("/v1/pulled/*", limited);
  addPulledRoutes(app, parts);
  app.use("/v1/gc", limited);
  addGcRoute(app, parts);
  return app;
}

/** Creates an app with health and metrics only, which is safe to serve to other users. */
export function createObserverApp(parts: AdminParts): Hono {
  const metrics = new Metrics();
  const app = new Hono();
  app.get("/healthz", async (c) => {
    const { troubles } = await takeReport(parts);
    const reasons = troubles.filter(({ severity }) => severity === "failed").map(({ message }) => message);
    return reasons.length === 0 ? c.json({ status: "ok", reasons }) : c.json({ status: "failed", reasons }, 503);
  });
  app.get("/metrics", async (c) => {
    const text = await metrics.text(await takeReport(parts));
    return c.body(text, 200, { "content-type": metrics.contentType });
  });
  app.notFound(({ req }) => {
    return errorResponse(new NydusGdError("not-found", `Cannot answer ${req.method} ${req.path}: no such route`));
  });
  app.onError((error) => {
    if (!(error instanceof NydusGdError)) log.error("call failed", { reason: messageOf(error) });
    return errorResponse(error);
  });
  return app;
}

function errorResponse(error: unknown): Response {
  const { code, hint } = error instanceof NydusGdError ? error : { code: "internal" as const, hint: undefined };
  const body = { error: { code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) } };
  return Response.json(body, { status: STATUS_OF[code] ?? 500 });
}

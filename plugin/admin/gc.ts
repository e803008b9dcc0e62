/**
 * `POST /v1/gc`, `{"dry_run": false, "all": false}`: frees cache space, as described in
 * lib/image/gc/collect_garbage.ts.
 *
 * @module
 */
import type { Hono } from "hono";
import * as v from "valibot";
import { NydusGdError } from "../../lib/base/errors.ts";
import { formatPath, parseWith } from "../../lib/base/schema.ts";
import type { GarbageOptions, GarbageReport } from "../../lib/image/gc/collect_garbage.ts";
import { parseBody } from "./request_json.ts";

const Request = v.strictObject({ dry_run: v.optional(v.boolean(), false), all: v.optional(v.boolean(), false) });

/** The part of a daemon that collects garbage. */
export interface GcParts {
  collect(options: GarbageOptions): Promise<GarbageReport>;
}

/** Adds the route. An empty body means the defaults. */
export function addGcRoute(app: Hono, { collect }: GcParts): void {
  app.post("/v1/gc", async (c) => {
    const text = await c.req.text();
    const asked = parseWith(Request, text === "" ? {} : parseBody(text));
    if (!asked.ok) throw new NydusGdError("usage", `Cannot free cache: ${formatPath(asked.path)} ${asked.state}`);
    return c.json(await collect({ dryRun: asked.value.dry_run, all: asked.value.all }));
  });
}

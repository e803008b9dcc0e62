/**
 * The part of nydusd's API that manages images in the kernel's fscache, for programs written for it.
 *
 * | route | what it does |
 * |---|---|
 * | `PUT /api/v2/blobs` | offers an image to `mount -t erofs -o domain_id=…,fsid=…`: 204 (lib/image/lazy/offered/blob_entry.ts) |
 * | `GET /api/v2/blobs?domain_id=…` | lists the images offered in a domain: `{"blobs": […]}` |
 * | `DELETE /api/v2/blobs?domain_id=…&blob_id=…` | withdraws an image, or without `blob_id` the whole domain: 204 |
 * | `GET /api/v1/daemon`, `/api/v2/daemon` | identity, state and version |
 *
 * Errors are `{"code", "message"}`. Listed documents may contain credentials, so only the owner of the socket may see
 * them. Source: api/openapi/nydus-api-v2.yaml of nydusd 2.3.
 *
 * ```sh
 * curl --unix-socket /run/nydus-gd/nydusd.sock -X PUT -d @entry.json http://nydusd/api/v2/blobs
 * ```
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { type ErrorCode, messageOf, NydusGdError } from "../../lib/base/errors.ts";
import { parseJsonText } from "../../lib/base/json_text.ts";
import { logger } from "../../lib/base/log.ts";
import { VERSION } from "../../lib/base/version.ts";
import type { OfferedImages } from "../../lib/image/lazy/offered/offered_images.ts";

const log = logger("nydusd-api");

/** nydusd's limit of a configuration file. */
const MAX_BODY_BYTES = 1024 * 1024;

const STATUS_OF: Partial<Record<ErrorCode, 400 | 404 | 409>> = {
  usage: 400,
  config: 400,
  unsupported: 400,
  "not-found": 404,
  exists: 409,
};

/** Creates the app. Serve it on a Unix socket that only root can reach. */
export function createNydusdApp(offered: Pick<OfferedImages, "add" | "list" | "remove">): Hono {
  const app = new Hono();
  const tooLarge = () => {
    throw new NydusGdError("usage", `Cannot read request: its body exceeds ${MAX_BODY_BYTES} bytes`);
  };
  app.put("/api/v2/blobs", bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }), async (c) => {
    const document = parseJsonText(await c.req.text());
    if (document === undefined) throw new NydusGdError("usage", "Cannot read request: its body is not valid JSON");
    await offered.add(document);
    return c.body(null, 204);
  });
  app.get("/api/v2/blobs", (c) => c.json({ blobs: offered.list(domainOf(c)) }));
  app.delete("/api/v2/blobs", async (c) => {
    await offered.remove(domainOf(c), c.req.query("blob_id"));
    return c.body(null, 204);
  });
  for (const version of ["v1", "v2"]) app.get(`/api/${version}/daemon`, (c) => c.json(daemonInfo()));
  app.onError((error, c) => {
    const code = error instanceof NydusGdError ? error.code : "internal";
    const message = messageOf(error);
    log.warn("request failed", { method: c.req.method, path: c.req.path, code, message });
    return c.json({ code, message }, STATUS_OF[code] ?? 500);
  });
  app.notFound((c) =>
    c.json({ code: "not-found", message: `Cannot ${c.req.method} ${c.req.path}: no such route` }, 404)
  );
  return app;
}

/** @throws {NydusGdError} "usage" */
function domainOf(c: Context): string {
  const domain = c.req.query("domain_id");
  if (domain === undefined) throw new NydusGdError("usage", "Cannot read request: domain_id is missing");
  return domain;
}

function daemonInfo(): unknown {
  return { id: "nydus-gd", state: "RUNNING", version: { package_ver: VERSION, profile: "release" } };
}

/**
 * Docker's graph-driver plugin protocol on a Hono app.
 *
 * Every call is a POST to `/GraphDriver.<Verb>` (or `/Plugin.Activate`), possibly with a prefix: dockerd's Host header
 * may contain slashes, which end up in the URL's path. Errors are `{"Err": "text"}`; a failed Diff has a status other
 * than 200. Source: moby daemon/graphdriver/proxy.go and pkg/plugins, 20.10 to 27.5.
 *
 * ```ts
 * await using driver = await GraphDriver.resume({ stateFile, openStore });
 * await using server = await serveUnix("/run/docker/plugins/nydus-gd.sock", createGraphDriverApp(driver));
 * await server.finished;
 * ```
 *
 * @module
 */
import { Hono } from "hono";
import { NydusGdError } from "../../lib/base/errors.ts";
import type { GraphDriver } from "./driver.ts";
import { JSON_METHODS } from "./json_methods.ts";
import { MAX_REQUEST_BYTES } from "./protocol.ts";
import { readBody } from "./request_body.ts";
import { errorResponse, jsonResponse } from "./responses.ts";
import { applyDiff, diff } from "./stream_methods.ts";

const METHOD_TAIL = /\/((?:Plugin|GraphDriver)\.\w+)$/;

/** The app; serve it on a unix socket that only root can reach. */
export function createGraphDriverApp(driver: GraphDriver): Hono {
  const app = new Hono({ getPath: (request) => `/${methodOf(request.url) ?? ""}` });
  for (const [name, run] of Object.entries(JSON_METHODS)) {
    app.post(`/${name}`, async ({ req }) => {
      try {
        return jsonResponse(await run(driver, await readBody(req.raw.body, MAX_REQUEST_BYTES)));
      } catch (error) {
        return errorResponse(name, error);
      }
    });
  }
  app.post("/GraphDriver.ApplyDiff", ({ req }) => applyDiff(driver, req.raw));
  app.post("/GraphDriver.Diff", ({ req }) => diff(driver, req.raw));
  app.notFound(({ req }) => {
    const method = methodOf(req.url) ?? req.method;
    return errorResponse(method, new NydusGdError("usage", `Cannot answer ${method}: no such call`), 404);
  });
  app.onError((error) => errorResponse("call", error, 500));
  return app;
}

/** "GraphDriver.Create" for any URL whose path ends so. */
export function methodOf(url: string): string | undefined {
  const end = url.search(/[?#]/);
  return METHOD_TAIL.exec(end < 0 ? url : url.slice(0, end))?.[1];
}

/**
 * Routes for `nydus-gd pull`, keyed by the diffID of an image's bootstrap layer.
 *
 * | route | what it does |
 * |---|---|
 * | `PUT /v1/pulled/sha256:…` | records blob locations and credentials (lib/image/lazy/records/pulled_images.ts): 204. Removes what killed pulls recorded |
 * | `DELETE /v1/pulled/sha256:…` | drops the record after a failed pull, unless Docker has the layer: 204 |
 * | `POST /v1/pulled/sha256:…/prefetch` | mounts the image and starts fetching all of it: 202 |
 *
 * @module
 */
import type { Hono } from "hono";
import { NydusGdError } from "../../lib/base/errors.ts";
import { forgetKilledPulls } from "../../lib/image/gc/collect_garbage.ts";
import type { LazyImageStore } from "../../lib/image/lazy/lazy_image_store.ts";
import { type PulledImages, readPulledImage } from "../../lib/image/lazy/records/pulled_images.ts";
import type { LazyLayer } from "../../lib/layer/lazy/lazy_images.ts";
import { type Digest, isDigest } from "../../lib/oci/digest.ts";
import type { GraphDriver } from "../docker/driver.ts";
import { parseBody } from "./request_json.ts";

/** Dependencies of the routes. */
export interface PulledParts {
  readonly root: string;
  readonly images: LazyImageStore;
  readonly driver: GraphDriver;
  readonly pulled: PulledImages;
}

/** Adds the routes. */
export function addPulledRoutes(app: Hono, { root, images, driver, pulled }: PulledParts): void {
  app.put("/v1/pulled/:diffId", async (c) => {
    await pulled.record(diffIdOf(c.req.param("diffId")), readPulledImage(parseBody(await c.req.text())));
    if (driver.ready) await forgetKilledPulls({ stateDir: `${root}/state`, pulled }, driver.store.lazyLayers);
    return c.body(null, 204);
  });
  app.delete("/v1/pulled/:diffId", async (c) => {
    const diffId = diffIdOf(c.req.param("diffId"));
    if (layerOf(driver, diffId) === undefined) await pulled.forget(diffId);
    return c.body(null, 204);
  });
  app.post("/v1/pulled/:diffId/prefetch", async (c) => {
    const diffId = diffIdOf(c.req.param("diffId"));
    const layer = layerOf(driver, diffId);
    if (layer === undefined) {
      throw new NydusGdError("not-found", `Cannot prefetch image of layer ${diffId}: Docker has none`);
    }
    const { state } = await images.fetchAll(layer, c.req.raw.signal);
    return c.json({ layer: layer.id, state }, 202);
  });
}

function layerOf(driver: GraphDriver, diffId: Digest): LazyLayer | undefined {
  return driver.store.lazyLayers.find((layer) => layer.diffId === diffId);
}

function diffIdOf(text: string): Digest {
  if (isDigest(text)) return text;
  throw new NydusGdError("usage", `Cannot use diffID ${JSON.stringify(text.slice(0, 100))}: it is not a digest`);
}

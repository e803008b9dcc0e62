import assert from "node:assert/strict";
import { NydusGdError } from "../../lib/base/errors.ts";
import { createNydusdApp } from "./app.ts";

/** In-memory replacement of the images offered to a kernel. */
class Offered {
  readonly documents = new Map<string, unknown>();

  add(document: unknown): Promise<void> {
    const { id } = document as { id?: string };
    if (id === undefined) throw new NydusGdError("usage", "Cannot read blob entry: id is missing");
    if (this.documents.has(id)) throw new NydusGdError("exists", `Cannot offer image ${id}: another is offered`);
    this.documents.set(id, document);
    return Promise.resolve();
  }

  list(domain: string): unknown[] {
    return domain === "shared" ? [...this.documents.values()] : [];
  }

  remove(domain: string, fsid: string | undefined): Promise<void> {
    if (domain !== "shared" || (fsid !== undefined && !this.documents.delete(fsid))) {
      throw new NydusGdError("not-found", "Cannot end offer: there is no image");
    }
    if (fsid === undefined) this.documents.clear();
    return Promise.resolve();
  }
}

const BLOBS = "http://nydusd/api/v2/blobs";

Deno.test("blobs are added, listed and removed by nydusd's routes, and errors have its codes", async () => {
  const app = createNydusdApp(new Offered());
  const put = (body: string) => app.request(BLOBS, { method: "PUT", body });
  const entry = { type: "bootstrap", id: "app", domain_id: "shared" };
  assert.equal((await put(JSON.stringify(entry))).status, 204);
  assert.deepEqual(await (await app.request(`${BLOBS}?domain_id=shared`)).json(), { blobs: [entry] });
  const refused = [
    await put("{"),
    await put("{}"),
    await put(JSON.stringify(entry)),
    await app.request(BLOBS),
    await app.request(`${BLOBS}?domain_id=other&blob_id=app`, { method: "DELETE" }),
    await app.request("http://nydusd/api/v1/mount"),
  ];
  assert.deepEqual(refused.map(({ status }) => status), [400, 400, 409, 400, 404, 404]);
  for (const response of refused) {
    const { code, message } = await response.json();
    assert.match(`${code} ${message}`, /^[a-z-]+ Cannot /);
  }
  assert.equal((await app.request(`${BLOBS}?domain_id=shared&blob_id=app`, { method: "DELETE" })).status, 204);
  assert.deepEqual(await (await app.request(`${BLOBS}?domain_id=shared`)).json(), { blobs: [] });
});

Deno.test("the daemon info route reports a running daemon", async () => {
  const response = await createNydusdApp(new Offered()).request("http://nydusd/api/v1/daemon");
  assert.equal((await response.json()).state, "RUNNING");
});

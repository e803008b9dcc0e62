import assert from "node:assert/strict";
import { locationLifetimeMs } from "./location_lifetime.ts";

Deno.test("a presigned URL is used as long as it states", () => {
  const now = Date.UTC(2026, 0, 1, 12, 0, 0);
  const life = (query: string) => locationLifetimeMs(new URL(`https://store/x?${query}`), now);
  assert.equal(life("X-Amz-Date=20260101T115900Z&X-Amz-Expires=120"), 45_000);
  assert.equal(life("X-Goog-Date=20260101T120000Z&X-Goog-Expires=60"), 45_000);
  assert.equal(life(`Expires=${now / 1000 + 60}`), 45_000);
  assert.equal(life("se=2026-01-01T12%3A01%3A00Z"), 45_000);
  assert.equal(life("X-Amz-Date=20250101T115900Z&X-Amz-Expires=120"), 0);
  assert.equal(life("X-Amz-Date=20260101T120000Z&X-Amz-Expires=999999"), 3_600_000);
  for (const none of ["token=x", "Expires=soon", "Expires=3600", "X-Amz-Date=20260101T115900Z", "X-Amz-Expires=120"]) {
    assert.equal(life(none), 300_000, none);
  }
});

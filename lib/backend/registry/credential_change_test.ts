import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { basic } from "../../../tests/support/backend/credentials.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { hasCode } from "../../base/errors.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import type { Keychain } from "./keychain.ts";

const BYTES = distinctBytes(1_000);

for (const auth of ["basic", "bearer"] as const) {
  Deno.test(`${auth}: a changed password is picked up without an error for readers`, async () => {
    let password = "first";
    await using registry = await FakeRegistry.start({ auth, user: "bob", password, expiresInSeconds: 0 });
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
    const keychain: Keychain = { resolve: () => Promise.resolve(basic("bob", password)) };
    const location = { host: registry.host, repo: "team/app", scheme: "http" } as const;
    const blob = openRegistry(location, { http, keychain }).blob(registry.addBlob(BYTES));
    const read = async (at: number) => assert.deepEqual(await blob.read(at, 10, ON_DEMAND), BYTES.slice(at, at + 10));
    await read(0);
    registry.changePassword(password = "second");
    await read(10);
    registry.changePassword("third");
    await assert.rejects(read(20), (error) => hasCode(error, "unauthorized"));
    password = "third";
    await read(20);
  });
}

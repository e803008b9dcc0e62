import assert from "node:assert/strict";
import { refuses } from "../../../tests/support/backend/backend_world.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { until } from "../../../tests/support/until.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { ORDINARY_MEMORY } from "../../rafs/memory/image_memory.ts";
import { DockerEngine } from "./engine.ts";

/** A dockerd that receives `takes` bytes of an archive, and answers when it is told to. */
class LoadingDocker implements AsyncDisposable {
  received = 0;
  readonly #answer = Promise.withResolvers<void>();
  readonly #server: Deno.HttpServer;

  constructor(readonly path: string, takes = Infinity) {
    this.#server = Deno.serve({ path, onListen: () => {} }, async (request) => {
      const reader = request.body?.getReader();
      while (this.received < takes) {
        const piece = await reader?.read();
        if (piece?.value === undefined) break;
        this.received += piece.value.length;
      }
      await this.#answer.promise;
      return new Response('{"stream":"Loaded image: app:1"}\n');
    });
  }

  answer(): void {
    this.#answer.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.answer();
    await this.#server.shutdown();
  }
}

Deno.test("an abort ends the transfer of an archive", async () => {
  using temp = TempDir.make();
  await using docker = new LoadingDocker(temp.join("docker.sock"), 1);
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const abort = new AbortController();
  const archive = [new Uint8Array(64 << 20)];
  const loading = new DockerEngine(`unix://${docker.path}`, http).load(archive, ORDINARY_MEMORY, abort.signal);
  await until("Docker receives the archive", () => docker.received > 0);
  abort.abort();
  await refuses(loading, "interrupted");
});

Deno.test("an abort after the transfer waits for the image, which Docker loads all the same", async () => {
  using temp = TempDir.make();
  await using docker = new LoadingDocker(temp.join("docker.sock"));
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const abort = new AbortController();
  const archive = [new Uint8Array(100_000), new Uint8Array(100_000)];
  const loading = new DockerEngine(`unix://${docker.path}`, http).load(archive, ORDINARY_MEMORY, abort.signal);
  await until("Docker has the archive", () => docker.received === 200_000);
  abort.abort();
  docker.answer();
  assert.equal(await loading, undefined);
});

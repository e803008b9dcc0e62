import { deepEqual, equal, rejects } from "node:assert/strict";
import { serveUnix } from "./serve_unix.ts";

const ECHO = { fetch: async (request: Request) => new Response(await request.text()) };

async function inFolder(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function post(path: string, body: BodyInit): Promise<string> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const response = await fetch("http://plugin/", { method: "POST", body, client });
  return await response.text();
}

Deno.test("the socket is private, answers, and is removed when stopped", () =>
  inFolder(async (dir) => {
    const path = `${dir}/new folder/gd.sock`;
    const server = await serveUnix(path, ECHO);
    equal((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o600);
    equal(await post(path, "hello"), "hello");
    deepEqual([...Deno.readDirSync(`${dir}/new folder`)].map((entry) => entry.name), ["gd.sock"]);
    await server.stop();
    deepEqual([...Deno.readDirSync(`${dir}/new folder`)], []);
  }));

Deno.test("the socket of a dead process is replaced, a live one is refused by name", () =>
  inFolder(async (dir) => {
    const path = `${dir}/gd.sock`;
    const dead = Deno.listen({ transport: "unix", path: `${dir}/elsewhere` });
    await Deno.rename(`${dir}/elsewhere`, path); // or closing it would remove the file
    dead.close();
    equal(Deno.lstatSync(path).isSocket, true);
    await using server = await serveUnix(path, ECHO);
    equal(await post(server.path, "x"), "x");
    await rejects(() => serveUnix(path, ECHO), { code: "busy", message: /another process serves it/ });
    equal(await post(path, "still here"), "still here");
  }));

Deno.test("a file that is not a socket and an overlong path are refused", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/file`, "kept");
    await rejects(() => serveUnix(`${dir}/file`, ECHO), { code: "usage" });
    equal(await Deno.readTextFile(`${dir}/file`), "kept");
    await rejects(() => serveUnix(`${dir}/${"x".repeat(120)}`, ECHO), { code: "usage" });
  }));

Deno.test("stopping lets a running call finish", () =>
  inFolder(async (dir) => {
    const entered = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const server = await serveUnix(`${dir}/s`, {
      fetch: async () => {
        entered.resolve();
        await gate.promise;
        return new Response("done");
      },
    });
    const answer = post(`${dir}/s`, "");
    await entered.promise;
    const stopped = server.stop();
    gate.resolve();
    equal(await answer, "done");
    await stopped;
  }));

Deno.test("stopping lets a call read the rest of its body, and serves others meanwhile", () =>
  inFolder(async (dir) => {
    const entered = Promise.withResolvers<void>();
    const server = await serveUnix(`${dir}/s`, {
      fetch: async (request) => {
        const reader = request.body?.getReader();
        entered.resolve();
        let text = "";
        for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read()) {
          text += new TextDecoder().decode(piece.value);
        }
        return new Response(text);
      },
    });
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const answer = post(`${dir}/s`, readable);
    await writer.write(new TextEncoder().encode("one, "));
    await entered.promise;
    const stopped = server.stop();
    equal(await post(`${dir}/s`, "another"), "another");
    await writer.write(new TextEncoder().encode("two"));
    await writer.close();
    equal(await answer, "one, two");
    await stopped;
  }));

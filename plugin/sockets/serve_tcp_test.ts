import { equal, match, throws } from "node:assert/strict";
import { serveTcp } from "./serve_tcp.ts";

const ECHO = { fetch: (request: Request) => new Response(new URL(request.url).pathname) };

Deno.test("a port is served until disposal, and a port in use is refused by name", async () => {
  let port: number;
  {
    await using server = serveTcp("127.0.0.1:0", ECHO);
    port = server.port;
    equal(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), "/metrics");
    throws(() => serveTcp(`127.0.0.1:${port}`, ECHO), { code: "environment", hint: "choose another metrics.listen" });
  }
  await using again = serveTcp(`127.0.0.1:${port}`, ECHO);
  match(await (await fetch(`http://127.0.0.1:${again.port}/x`)).text(), /x/);
});

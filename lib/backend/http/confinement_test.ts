import assert from "node:assert/strict";
import { confine } from "./confinement.ts";

Deno.test("a confined request goes to other machines only, and over TLS", () => {
  for (const host of ["registry.example.com", "10.0.0.7:5000", "192.168.1.1", "[2001:db8::1]:5000", "notlocalhost"]) {
    confine(new URL(`https://${host}/v2/`));
    assert.throws(() => confine(new URL(`http://${host}/v2/`)), /plain HTTP/);
  }
});

Deno.test("a confined request never reaches this machine or its link, however the address is written", () => {
  const hosts = [
    ...["localhost", "localhost:5000", "localhost.", "a.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1"],
    ...["0177.0.0.1", "127.255.255.254:80", "0.0.0.0", "169.254.169.254", "169.254.0.1:443", "[::1]", "[::]"],
    ...["[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]", "[fe80::1]", "[febf::1]:80"],
  ];
  for (const host of hosts) {
    for (const scheme of ["https", "http"]) {
      assert.throws(() => confine(new URL(`${scheme}://${host}/v2/`)), /is a loopback or link-local address/, host);
    }
  }
});

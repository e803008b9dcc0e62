import { deepEqual } from "node:assert/strict";
import { PrefixMachine } from "../../../tests/support/machine/setup_prefix.ts";
import { insecureRegistries } from "./docker_registries.ts";

const HOSTS = ["usual.example", "named.example"];

/** Which of {@link HOSTS} are asked without certificates. */
async function insecureOn(machine: PrefixMachine): Promise<string[]> {
  machine.write("/etc/docker/daemon.json", '{"insecure-registries": ["usual.example"]}');
  machine.write("/etc/docker/named.json", '{"insecure-registries": ["named.example"]}');
  const registries = await insecureRegistries(machine.host);
  return HOSTS.filter((host) => registries.has(host));
}

Deno.test("the file that Docker's unit names counts, or else the usual one", async () => {
  using machine = new PrefixMachine();
  deepEqual(await insecureOn(machine), ["usual.example"]);
  machine.write("/etc/default/docker", "DOCKER_OPTS=--config-file=/etc/docker/named.json\n");
  deepEqual(await insecureOn(machine), ["named.example"]);
});

Deno.test("a unit that cannot be read leaves the usual file", async () => {
  using machine = new PrefixMachine();
  machine.write("/etc/systemd/system/docker.service.d/proxy.conf/file", ""); // no file to read, even for root
  deepEqual(await insecureOn(machine), ["usual.example"]);
});

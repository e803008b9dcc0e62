/**
 * A machine with systemd, Debian's Docker on overlay2, and the built package installed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { buildProgram } from "../process/built_program.ts";
import { busyboxLayer } from "../docker/docker_stack.ts";
import { SystemdMachine } from "./systemd_machine.ts";

/** Without a bridge, as the network is shared with this machine; cgroups without systemd's bus. */
export const DAEMON_JSON = `{
  "bridge": "none",
  "iptables": false, "ip6tables": false,
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "storage-driver": "overlay2"
}
`;

/** A machine with Docker on overlay2, one image, and our package installed. */
export async function withDockerMachine(test: (machine: SystemdMachine) => Promise<void>): Promise<void> {
  await using machine = await SystemdMachine.start();
  await buildProgram(machine.outside);
  await installPackage(machine);
  await machine.write("/etc/docker/daemon.json", DAEMON_JSON);
  await machine.must("systemctl", "start", "docker");
  await Deno.writeFile(`${machine.outside}/box.tar`, await busyboxLayer());
  await machine.must("docker", "import", "/outside/box.tar", "box");
  await test(machine);
}

/** Installs the package, for the first time or again. Returns what was said on standard error. */
export async function installPackage(machine: SystemdMachine): Promise<string> {
  const { code, stdout, stderr } = await machine.run("sh", "-c", "dpkg --install /outside/nydus-gd_*.deb");
  assert.equal(code, 0, stdout + stderr);
  return stderr;
}

/** Value of a property of a unit, as systemctl shows it. */
export async function property(machine: SystemdMachine, unit: string, name: string): Promise<string> {
  return await machine.must("systemctl", "show", unit, "--property", name, "--value");
}

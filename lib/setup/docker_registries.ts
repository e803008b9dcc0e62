/**
 * The registries that Docker's own configuration lets it ask without certificates.
 *
 * @module
 */
import { InsecureRegistries } from "../backend/registry/insecure_registries.ts";
import { readDockerUnit } from "./docker_flags.ts";
import { Host } from "./host.ts";
import { daemonJsonPath } from "./plan_files.ts";

/** Those of the daemon.json that Docker's unit names, or else of the usual one. Read anew for each registry. */
export async function insecureRegistries(host = new Host("/")): Promise<InsecureRegistries> {
  return new InsecureRegistries(host.at(daemonJsonPath(await readDockerUnit(host))));
}

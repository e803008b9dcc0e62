/**
 * The registries that Docker's own configuration lets it ask without certificates.
 *
 * @module
 */
import { DAEMON_JSON, InsecureRegistries } from "../../backend/registry/insecure_registries.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { daemonJsonPath, readDockerUnit } from "./docker_flags.ts";
import { Host } from "../host.ts";

const log = logger("setup");

/** Those of the daemon.json that Docker's unit names, or else of the usual one. */
export async function insecureRegistries(host = new Host("/")): Promise<InsecureRegistries> {
  return new InsecureRegistries(host.at(await namedPath(host)));
}

/** A unit may be for root's eyes only, as one with a proxy's password; commands of other users go on without it. */
async function namedPath(host: Host): Promise<string> {
  try {
    return daemonJsonPath(await readDockerUnit(host));
  } catch (error) {
    log.debug("Docker's unit cannot be read, using its usual configuration", { reason: messageOf(error) });
    return DAEMON_JSON;
  }
}

/**
 * Finds command-line flags that Docker's unit passes to dockerd, which refuses to start if daemon.json sets the same
 * option.
 *
 * @module
 */
import { DAEMON_JSON } from "../../backend/registry/insecure_registries.ts";
import type { Host } from "../host.ts";
import { type FlaggedUnit, readUnitFlags } from "../unit_flags.ts";
import { DOCKER_SERVICE, DROP_IN_PATH } from "../unit_files.ts";

/** Environment files of Debian and Red Hat. */
const ENVIRONMENT_FILES = ["/etc/default/docker", "/etc/sysconfig/docker", "/etc/sysconfig/docker-storage"];

/** Patterns of the relevant flags. */
const PATTERNS = {
  storageDriver: /(?:^|[\s"'=])(?:--storage-driver|-s)(?:=|\s+)"?([\w.:/-]+)/,
  experimental: /(?:^|[\s"'=])--experimental(?:=(\w+))?(?=[\s"']|$)/,
  configFile: /(?:^|[\s"'=])--config-file(?:=|\s+)"?([\w./-]+)/,
  storageOptions: /(?:^|[\s"'=])--storage-opt(?:=|\s+)"?([\w.=:/-]+)/,
  features: /(?:^|[\s"'=])--feature(?:=|\s+)"?([\w.=,-]+)/,
  containerd: /(?:^|[\s"'=])--containerd(?:=|\s+)"?([\w.:/-]+)/,
} as const;

/** Docker's unit, as far as it is readable. */
export type DockerUnit = FlaggedUnit<keyof typeof PATTERNS>;

/** Reads Docker's unit and its flags. */
export function readDockerUnit(host: Host): Promise<DockerUnit> {
  return readUnitFlags(host, {
    service: DOCKER_SERVICE,
    ownDropIn: DROP_IN_PATH,
    environmentFiles: ENVIRONMENT_FILES,
    patterns: PATTERNS,
  });
}

/** Path of Docker's configuration file. */
export function daemonJsonPath({ flags }: DockerUnit): string {
  return flags.configFile?.value ?? DAEMON_JSON;
}

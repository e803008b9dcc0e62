/**
 * Ordinary images without credentials and without Docker, unless a test has one.
 *
 * @module
 */
import type { HttpClient } from "../../lib/backend/http/http_client.ts";
import { ANONYMOUS } from "../../lib/backend/registry/keychain.ts";
import { DockerEngine } from "../../lib/image/docker/engine.ts";
import type { SourceAccess } from "../../lib/image/source/source_access.ts";

/** @param folder for what has to be in a file @param dockerSocket of a daemon */
export function anonymousAccess(http: HttpClient, folder: string, dockerSocket = "/no/such/docker.sock"): SourceAccess {
  const docker = () => new DockerEngine(`unix://${dockerSocket}`, http);
  return { deps: { http, keychain: ANONYMOUS }, folder, docker };
}

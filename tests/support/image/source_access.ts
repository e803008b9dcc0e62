/**
 * Access to ordinary images without credentials and, by default, without Docker.
 *
 * @module
 */
import type { HttpClient } from "../../../lib/backend/http/http_client.ts";
import { ANONYMOUS } from "../../../lib/backend/registry/keychain.ts";
import { DockerEngine } from "../../../lib/image/docker/engine.ts";
import type { SourceAccess } from "../../../lib/image/source/source_access.ts";

/** @param folder directory for temporary files @param dockerSocket socket of a daemon */
export function anonymousAccess(http: HttpClient, folder: string, dockerSocket = "/no/such/docker.sock"): SourceAccess {
  const docker = () => new DockerEngine(`unix://${dockerSocket}`, http);
  return { deps: { http, keychain: ANONYMOUS }, folder, docker };
}

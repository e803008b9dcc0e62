/**
 * Access to images from a command: settings from the environment, connections, credentials.
 *
 * @module
 */
import { fetchOptionsOf } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import type { BackendDeps } from "../../backend/open_backend.ts";
import { certsDirs, Mirrors } from "../../backend/registry/certs_dir.ts";
import { dockerConfigDir, DockerKeychain } from "../../backend/registry/keychain.ts";
import { parseSettings, type Settings } from "../../base/settings.ts";
import { DockerEngine, dockerHost } from "../../image/docker/engine.ts";
import type { SourceAccess } from "../../image/source/source_access.ts";

/** Access to images. Dispose after the last use. */
export class ImageAccess implements Disposable {
  readonly deps: BackendDeps;
  readonly #http: HttpClient;

  private constructor(readonly settings: Settings) {
    this.#http = new HttpClient(fetchOptionsOf(settings.fetch));
    this.deps = {
      http: this.#http,
      keychain: new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) }),
      mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
    };
  }

  /** @throws {NydusGdError} "config" for an invalid `NYDUS_GD_…` */
  static open(): ImageAccess {
    return new ImageAccess(parseSettings("", Deno.env.toObject()));
  }

  /**
   * Returns the access to ordinary images.
   *
   * @param folder for temporary files
   * @param named address of the daemon in the form of DOCKER_HOST; undefined: from settings and environment
   */
  sources(folder: string, named?: string): SourceAccess {
    const host = dockerHost(named, this.settings.docker.host);
    return { deps: this.deps, folder, docker: () => new DockerEngine(host, this.#http) };
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }
}

/**
 * Access to images from a command: connections and credentials, as the settings have them.
 *
 * @module
 */
import { fetchOptionsOf } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import type { BackendDeps } from "../../backend/open_backend.ts";
import { certsDirs, Mirrors } from "../../backend/registry/certs_dir.ts";
import type { InsecureRegistries } from "../../backend/registry/insecure_registries.ts";
import { dockerConfigDir, DockerKeychain } from "../../backend/registry/keychain.ts";
import type { Settings } from "../../base/settings.ts";
import { type ConfigPath, readSettings } from "../../backend/config_files.ts";
import { DockerEngine, dockerHost } from "../../image/docker/engine.ts";
import { insecureRegistries } from "../../setup/docker/docker_registries.ts";
import type { SourceAccess } from "../../image/source/source_access.ts";

/** Options of {@link ImageAccess.open}. */
export interface AccessOptions {
  /** Whether a registry that has answered before is waited for until `fetch.deadline`. */
  readonly isPatient?: boolean;
}

/** Access to images. Dispose after the last use. */
export class ImageAccess implements Disposable {
  readonly deps: BackendDeps;
  readonly #http: HttpClient;

  private constructor(readonly settings: Settings, insecure: InsecureRegistries, { isPatient }: AccessOptions) {
    const { deadlineMs } = settings.fetch;
    this.#http = new HttpClient({ ...fetchOptionsOf(settings.fetch), patienceMs: isPatient ? deadlineMs : 0 });
    this.deps = {
      http: this.#http,
      keychain: new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) }),
      mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
      insecure,
    };
  }

  /** Reads the settings. @throws {NydusGdError} as {@link readSettings} */
  static async open(file: ConfigPath, options: AccessOptions = {}): Promise<ImageAccess> {
    return new ImageAccess(await readSettings(file), await insecureRegistries(), options);
  }

  /**
   * Returns a client of the daemon.
   *
   * @param named address in the form of DOCKER_HOST; undefined: from settings and environment
   */
  docker(named?: string): DockerEngine {
    return new DockerEngine(dockerHost(named, this.settings.docker.host), this.#http);
  }

  /**
   * Returns the access to ordinary images.
   *
   * @param folder for temporary files
   * @param daemon as `named` of {@link docker}
   */
  sources(folder: string, daemon?: string): SourceAccess {
    return { deps: this.deps, folder, docker: () => this.docker(daemon) };
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }
}

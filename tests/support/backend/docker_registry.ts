/**
 * Debian's docker-registry on its own loopback port, with its storage in a temporary directory.
 *
 * ```ts
 * await using registry = await DockerRegistry.start();
 * await new RegistryClient(registry.url, "app").pushBlob(bytes);
 * ```
 *
 * @module
 */
import { join } from "node:path";
import { RegistryProcess } from "../../../lib/demo/registry_process.ts";

/** Path of the program in Debian's package `docker-registry`. */
const DOCKER_REGISTRY = "/usr/bin/docker-registry";

/** Why tests that need it are skipped; undefined if it is installed. */
export const dockerRegistryMissing: string | undefined = isInstalled()
  ? undefined
  : `${DOCKER_REGISTRY} is not installed (apt-get install docker-registry)`;

/** User, password, and the output of `htpasswd -B` for them. */
export const TEST_USER = {
  user: "alice",
  password: "open sesame:1",
  htpasswd: "alice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.RIAwnham70OUU65RWHmqdjZHac3vXWm",
} as const;

/** Options of the registry. */
export interface DockerRegistryOptions {
  /** Requires {@link TEST_USER}. */
  readonly basicAuth?: boolean;
  /** Refers clients to a token server whose certificate it trusts. */
  readonly tokenAuth?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    /** PEM text. */
    readonly rootCertificate: string;
  };
  /** Serves TLS; PEM texts. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Port to use; default: one that the kernel chooses. For a registry that is restarted. */
  readonly port?: number;
  /** URL of a registry whose pull-through cache it is. */
  readonly cacheOf?: string;
  /** Directory for the storage; default: a temporary one, removed at the end. */
  readonly storage?: string;
}

/** A running registry. */
export class DockerRegistry implements AsyncDisposable {
  private constructor(
    private readonly process: RegistryProcess,
    private readonly folder: string,
    private readonly scheme: string,
  ) {}

  /** Starts it; resolves when it accepts connections. */
  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const folder = await Deno.makeTempDir({ prefix: "nydus-gd-registry-" });
    try {
      const process = await RegistryProcess.start(folder, await configuration(options, folder));
      return new DockerRegistry(process, folder, options.tls === undefined ? "http" : "https");
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return this.process.host;
  }

  get port(): number {
    return Number(this.host.split(":")[1]);
  }

  /** "http://127.0.0.1:PORT". */
  get url(): string {
    return `${this.scheme}://${this.host}`;
  }

  /** Kills it and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.kill();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The sections of its configuration. */
async function configuration(
  { basicAuth, tokenAuth, tls, cacheOf, storage, port = 0 }: DockerRegistryOptions,
  folder: string,
): Promise<Record<string, Record<string, unknown>>> {
  const auth: Record<string, unknown> = {};
  if (basicAuth) {
    const path = join(folder, "htpasswd");
    await Deno.writeTextFile(path, `${TEST_USER.htpasswd}\n`);
    auth.htpasswd = { realm: "test", path };
  }
  if (tokenAuth !== undefined) {
    const rootcertbundle = join(folder, "token-ca.pem");
    await Deno.writeTextFile(rootcertbundle, tokenAuth.rootCertificate);
    auth.token = { realm: tokenAuth.realm, service: tokenAuth.service, issuer: tokenAuth.issuer, rootcertbundle };
  }
  const http: Record<string, unknown> = { addr: `127.0.0.1:${port}` };
  if (tls !== undefined) {
    const [certificate, key] = [join(folder, "tls.pem"), join(folder, "tls.key")];
    await Deno.writeTextFile(certificate, tls.certificate);
    await Deno.writeTextFile(key, tls.key, { mode: 0o600 });
    http.tls = { certificate, key };
  }
  const filesystem = storage === undefined ? {} : { filesystem: { rootdirectory: storage } };
  return {
    http,
    storage: { ...filesystem, redirect: { disable: true } },
    ...(cacheOf === undefined ? {} : { proxy: { remoteurl: cacheOf } }),
    ...(Object.keys(auth).length === 0 ? {} : { auth }),
  };
}

function isInstalled(): boolean {
  try {
    return Deno.statSync(DOCKER_REGISTRY).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

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
import { listening } from "./listening.ts";

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
  /** Port to use; default: a free one. For a registry that is restarted. */
  readonly port?: number;
  /** Directory for the storage; default: a temporary one, removed at the end. */
  readonly storage?: string;
}

/** A running registry. */
export class DockerRegistry implements AsyncDisposable {
  private constructor(
    private readonly process: Deno.ChildProcess,
    private readonly folder: string,
    readonly port: number,
    private readonly scheme: string,
  ) {}

  /** Starts it; resolves when it answers. */
  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const folder = await Deno.makeTempDir({ prefix: "nydus-gd-registry-" });
    const port = options.port ?? freePort();
    const config = join(folder, "config.json");
    // the program reads YAML, of which JSON is a subset
    await Deno.writeTextFile(config, JSON.stringify(await configuration(options, folder, port)));
    const process = new Deno.Command(DOCKER_REGISTRY, {
      args: ["serve", config],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      env: { OTEL_TRACES_EXPORTER: "none" },
    }).spawn();
    const registry = new DockerRegistry(process, folder, port, options.tls === undefined ? "http" : "https");
    try {
      const isThere = await listening(process, () => Deno.connect({ hostname: "127.0.0.1", port }));
      if (!isThere) throw new Error("Cannot start docker-registry: it ended");
    } catch (error) {
      await registry[Symbol.asyncDispose]();
      throw error;
    }
    return registry;
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** "http://127.0.0.1:PORT". */
  get url(): string {
    return `${this.scheme}://${this.host}`;
  }

  /** Kills it and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch (error) {
      // it has ended already
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.process.status;
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function configuration(options: DockerRegistryOptions, folder: string, port: number): Promise<unknown> {
  const { basicAuth, tokenAuth, tls, storage } = options;
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
  return {
    version: "0.1",
    log: { level: "error", accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: storage ?? join(folder, "storage") },
      delete: { enabled: true },
      redirect: { disable: true },
    },
    http,
    ...(Object.keys(auth).length === 0 ? {} : { auth }),
  };
}

/** Returns a port that was free just now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function isInstalled(): boolean {
  try {
    return Deno.statSync(DOCKER_REGISTRY).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

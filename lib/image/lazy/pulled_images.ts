/**
 * What `nydus-gd pull` handed over: for each lazy image where its blobs are, and the logins that they were reached with.
 *
 * ```
 * <root>/state/pulled/<digits of the bootstrap layer's diffID>.json     mode 0600
 * ```
 * One file for each image, from before Docker gets it until Docker removes it; its logins go with it. They are asked for
 * after Docker's own, the newest pull first. A file that is damaged counts as none: other homes are asked then.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import type { Credential, Keychain } from "../../backend/registry/keychain.ts";
import { registryHost } from "../../backend/registry/endpoint.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { type Digest, digestHex, isDigest, sha256Digest } from "../../oci/digest.ts";
import { isRegistryHost, isRepository } from "../../oci/reference.ts";

const log = logger("image");

const host = v.pipe(v.string(), v.check(isRegistryHost, "is no HOST or HOST:PORT"));
const Login = v.intersect([
  v.object({ host }),
  v.variant("kind", [
    v.object({ kind: v.literal("basic"), user: v.string(), password: v.string() }),
    v.object({ kind: v.literal("identity-token"), token: v.string() }),
    v.object({ kind: v.literal("registry-token"), token: v.string() }),
  ]),
]);
const Record = v.object({
  version: v.literal(1),
  /** As it was asked for: "registry.example.com/team/app:1.0". */
  reference: v.string(),
  /** Where the blobs are. */
  registry: host,
  repository: v.pipe(v.string(), v.check(isRepository, "is no name of a repository")),
  /** ISO 8601. */
  pulledAt: v.pipe(v.string(), v.isoTimestamp("is no ISO timestamp")),
  logins: v.array(Login),
});

/** What is handed over of one image. */
export type PulledImage = v.InferOutput<typeof Record>;

/**
 * Reads what came over the admin socket.
 *
 * @throws {NydusGdError} "usage", without a word of a login
 */
export function readPulledImage(document: unknown): PulledImage {
  const parsed = parseWith(Record, document);
  if (parsed.ok) return parsed.value;
  throw new NydusGdError("usage", `Cannot record pulled image: ${formatPath(parsed.path)} ${parsed.state}`);
}

/** The records of one daemon. Every change is durable when it resolves. */
export class PulledImages {
  /** What is asked last of an image holds. */
  readonly #changing = new KeyedMutex<Digest>();

  private constructor(private readonly dir: string, private readonly images: Map<Digest, PulledImage>) {}

  /** Reads the folder, which is made where there is none. */
  static async open(dir: string): Promise<PulledImages> {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
    return await PulledImages.look(dir);
  }

  /** Reads the folder, for who only wants to know. None is an empty one. */
  static async look(dir: string): Promise<PulledImages> {
    const images = new Map<Digest, PulledImage>();
    for (const { name } of await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(dir))) ?? []) {
      const hex = /^([0-9a-f]{64})\.json$/.exec(name)?.[1];
      const image = hex === undefined ? undefined : await readRecord(join(dir, name));
      if (hex !== undefined && image !== undefined) images.set(sha256Digest(hex), image);
    }
    return new PulledImages(dir, images);
  }

  /** The image whose bootstrap layer has this diffID. */
  of(diffId: string | undefined): PulledImage | undefined {
    return diffId !== undefined && isDigest(diffId) ? this.images.get(diffId) : undefined;
  }

  /** diffIDs of all. */
  diffIds(): Digest[] {
    return [...this.images.keys()];
  }

  /** All. */
  list(): PulledImage[] {
    return [...this.images.values()];
  }

  /** Keeps what is known of an image, in place of what was known before. */
  record(diffId: Digest, image: PulledImage): Promise<void> {
    return this.#changing.run(diffId, async () => {
      await writeJsonFile(this.#pathOf(diffId), image);
      this.images.set(diffId, image);
      log.info("home of a pulled image recorded", { diffId, reference: image.reference });
    });
  }

  /** The image is gone. One that was never recorded is no error. */
  async forget(diffId: string | undefined): Promise<void> {
    if (diffId === undefined || !isDigest(diffId)) return;
    await this.#changing.run(diffId, async () => {
      if (!this.images.delete(diffId)) return;
      await ignore(Deno.errors.NotFound, Deno.remove(this.#pathOf(diffId)));
      log.info("home of a removed image forgotten", { diffId });
    });
  }

  /** The logins. */
  get keychain(): Keychain {
    return { resolve: (name) => Promise.resolve(this.#loginOf(name)) };
  }

  #loginOf(name: string): Credential | undefined {
    const newestFirst = [...this.images.values()].sort((a, b) => Date.parse(b.pulledAt) - Date.parse(a.pulledAt));
    for (const { logins, pulledAt, reference } of newestFirst) {
      const login = logins.find((each) => registryHost(each.host) === registryHost(name));
      if (login === undefined) continue;
      const source = {
        name: `nydus-gd pull ${reference} of ${pulledAt}`,
        hint: `docker login ${name}, and nydus-gd pull ${reference}`,
      };
      return login.kind === "basic"
        ? { kind: login.kind, user: login.user, password: login.password, source }
        : { kind: login.kind, token: login.token, source };
    }
    return undefined;
  }

  #pathOf(diffId: Digest): string {
    return join(this.dir, `${digestHex(diffId)}.json`);
  }
}

async function readRecord(path: string): Promise<PulledImage | undefined> {
  try {
    return readPulledImage(await readJsonFile(path));
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof NydusGdError)) throw error;
    // a parser quotes what it read, and that may be a login
    const reason = error instanceof SyntaxError ? "it is no valid JSON" : messageOf(error);
    log.warn("record of a pulled image is of no use", { path, reason });
    return undefined;
  }
}

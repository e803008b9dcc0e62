/**
 * Records of `nydus-gd pull`: for each lazy image, the location of its blobs and the credentials used to reach them.
 *
 * ```
 * <root>/state/pulled/<digits of the bootstrap layer's diffID>.json     mode 0600
 * ```
 * There is one file per image, written before Docker gets the image and removed with it, including the credentials.
 * They are tried after Docker's own, newest pull first. A damaged file counts as absent: other backends are then tried.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import type { Credential } from "../../../backend/registry/credential.ts";
import type { Keychain } from "../../../backend/registry/keychain.ts";
import { registryHost } from "../../../backend/registry/endpoint.ts";
import { ignore, messageOf, NydusGdError } from "../../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { KeyedMutex } from "../../../base/keyed_mutex.ts";
import { logger } from "../../../base/log.ts";
import { makeFolder } from "../../../base/make_folder.ts";
import { formatPath, parseWith } from "../../../base/schema.ts";
import { type Digest, digestHex, isDigest, sha256Digest } from "../../../oci/digest.ts";
import { isRegistryHost, isRepository } from "../../../oci/reference.ts";

const log = logger("image");

const host = v.pipe(v.string(), v.check(isRegistryHost, "is not HOST or HOST:PORT"));
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
  /** As given by the user: "registry.example.com/team/app:1.0". */
  reference: v.string(),
  /** The registry of the blobs. */
  registry: host,
  repository: v.pipe(v.string(), v.check(isRepository, "is not a repository name")),
  /** ISO 8601. */
  pulledAt: v.pipe(v.string(), v.isoTimestamp("is not an ISO timestamp")),
  logins: v.array(Login),
  /** Larger than that of every earlier record: the clock may have been set back since. Given by the daemon. */
  sequence: v.optional(v.pipe(v.number(), v.safeInteger())),
});

/** The record of one image. */
export type PulledImage = v.InferOutput<typeof Record>;

/**
 * Parses a record received on the admin socket.
 *
 * @throws {NydusGdError} "usage"; the message contains no credentials
 */
export function readPulledImage(document: unknown): PulledImage {
  const parsed = parseWith(Record, document);
  if (parsed.ok) return parsed.value;
  throw new NydusGdError("usage", `Cannot record pulled image: ${formatPath(parsed.path)} ${parsed.state}`);
}

/** The records of one daemon. Changes are durable once resolved. */
export class PulledImages {
  /** Serializes changes to the record of an image. */
  readonly #changing = new KeyedMutex<Digest>();

  #sequence: number;

  private constructor(private readonly dir: string, private readonly images: Map<Digest, PulledImage>) {
    this.#sequence = Math.max(0, ...Array.from(images.values(), ({ sequence = 0 }) => sequence));
  }

  /** Reads the folder; creates it if it is missing. */
  static async open(dir: string): Promise<PulledImages> {
    await makeFolder(dir);
    return await PulledImages.look(dir);
  }

  /** Reads the folder without creating it. A missing folder counts as empty. */
  static async look(dir: string): Promise<PulledImages> {
    const images = new Map<Digest, PulledImage>();
    for (const { name } of await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(dir))) ?? []) {
      const hex = /^([0-9a-f]{64})\.json$/.exec(name)?.[1];
      const image = hex === undefined ? undefined : await readRecord(join(dir, name));
      if (hex !== undefined && image !== undefined) images.set(sha256Digest(hex), image);
    }
    return new PulledImages(dir, images);
  }

  /** Returns the record of the image whose bootstrap layer has this diffID. */
  of(diffId: string | undefined): PulledImage | undefined {
    return diffId !== undefined && isDigest(diffId) ? this.images.get(diffId) : undefined;
  }

  /** Returns all records. */
  list(): PulledImage[] {
    return [...this.images.values()];
  }

  /** Writes the record of an image, replacing an older one. */
  record(diffId: Digest, image: PulledImage): Promise<void> {
    return this.#changing.run(diffId, async () => {
      const recorded = { ...image, sequence: ++this.#sequence };
      await writeJsonFile(this.#pathOf(diffId), recorded);
      this.images.set(diffId, recorded);
      log.info("registry of a pulled image recorded", { diffId, reference: image.reference });
    });
  }

  /** Removes the record of an image, if there is one. */
  async forget(diffId: string | undefined): Promise<void> {
    if (diffId === undefined || !isDigest(diffId)) return;
    await this.#changing.run(diffId, async () => {
      if (!this.images.delete(diffId)) return;
      await ignore(Deno.errors.NotFound, Deno.remove(this.#pathOf(diffId)));
      log.info("registry of a removed image forgotten", { diffId });
    });
  }

  /** The recorded credentials. */
  get keychain(): Keychain {
    return { resolve: (name) => Promise.resolve(this.#loginOf(name)) };
  }

  #loginOf(name: string): Credential | undefined {
    const newestFirst = [...this.images.values()].sort((a, b) =>
      (b.sequence ?? 0) - (a.sequence ?? 0) || Date.parse(b.pulledAt) - Date.parse(a.pulledAt)
    );
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
    // JSON errors quote the text, which may contain a credential
    const reason = error instanceof SyntaxError ? "it is not valid JSON" : messageOf(error);
    log.warn("record of a pulled image cannot be used", { path, reason });
    return undefined;
  }
}

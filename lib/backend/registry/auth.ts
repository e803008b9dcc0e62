/**
 * The Authorization header of one repository: none until the registry challenges, then what the challenge asks for.
 *
 * Each answer to a challenge starts a new generation. Requests in flight with an older generation are refused by the
 * registry as well, but must not undo what the first of them has already corrected.
 *
 * @module
 */
import { unlessAborted } from "../../base/abort.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import type { ReadOptions } from "../blob_source.ts";
import type { ExchangeSetup } from "../http_setup.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Endpoint } from "./endpoint.ts";
import type { HttpClient } from "../http/http_client.ts";
import type { Credential } from "./credential.ts";
import type { Keychain } from "./keychain.ts";
import { TokenSource } from "./token.ts";
import { basicAuthorization } from "./token_protocol.ts";
import { TransferError } from "../http/transfer_error.ts";

/** Dependencies of {@link RegistryAuth}. */
export interface RegistryAuthOptions {
  readonly http: HttpClient;
  readonly endpoint: Endpoint;
  readonly keychain: Keychain;
  /** The scope to request if the challenge names none: "repository:library/nginx:pull". */
  readonly scope: string;
  readonly exchange: ExchangeSetup;
  /** The initial bearer token. The keychain is consulted once it is refused. */
  readonly initialToken: string | undefined;
  /** Whether hosts.toml sets an Authorization, which is sent until the registry asks for another. */
  readonly hasOwnHeader: boolean;
}

/** A header's value, and the generation that it belongs to. */
export interface Authorization {
  readonly header: string | undefined;
  readonly generation: number;
}

type Method =
  | { readonly kind: "none" }
  | { readonly kind: "fixed"; readonly header: string }
  | { readonly kind: "tokens"; readonly source: TokenSource };

const NOUN = { "basic": "user and password", "identity-token": "identity token", "registry-token": "registry token" };

/** Authorization for one repository. */
export class RegistryAuth {
  #method: Method = { kind: "none" };
  /** The credential used for the last challenge; null: the keychain has not been asked yet. */
  #credential: Credential | undefined | null = null;
  #generation = 0;
  readonly #answers = new SingleFlight<number, void>();

  constructor(private readonly options: RegistryAuthOptions) {
    const { initialToken } = options;
    if (initialToken !== undefined) this.#method = { kind: "fixed", header: `Bearer ${initialToken}` };
  }

  /** Returns the header to send now. */
  async authorization(options: ReadOptions): Promise<Authorization> {
    const generation = this.#generation;
    const method = this.#method;
    if (method.kind === "none") return { header: undefined, generation };
    if (method.kind === "fixed") return { header: method.header, generation };
    try {
      return { header: `Bearer ${await method.source.get(options)}`, generation };
    } catch (error) {
      if (!(error instanceof TransferError) || error.code !== "unauthorized") throw error;
      // The token server refused: the next request starts over with the credentials of that time.
      if (generation === this.#generation) this.#become({ kind: "none" });
      // A credential that worked before has changed or expired, so a new one may exist by now.
      if (!method.source.hasServed) throw this.explain(error);
      return { header: undefined, generation: this.#generation };
    }
  }

  /**
   * Handles the challenge of a 401.
   *
   * @param header WWW-Authenticate, empty if absent
   * @param sent what the refused request carried
   * @throws {TransferError} "unauthorized" if everything that could be sent has been refused
   */
  async answer(header: string, sent: Authorization, options: ReadOptions): Promise<void> {
    if (sent.generation !== this.#generation) return;
    await unlessAborted(
      this.#answers.run(sent.generation, () => this.#answer(parseChallenges(header), sent)),
      options.signal,
    );
  }

  async #answer(challenges: readonly Challenge[], sent: Authorization): Promise<void> {
    if (challenges.length === 0) {
      // Some registries challenge only requests without credentials.
      if (sent.header === undefined) throw this.#refused("it offers no authentication method");
      this.#become({ kind: "none" });
      return;
    }
    const credential = await this.options.keychain.resolve(this.options.endpoint.name);
    this.#credential = credential;
    this.#become(this.#choose(challenges, credential, sent.header));
  }

  #choose(challenges: readonly Challenge[], credential: Credential | undefined, refused: string | undefined): Method {
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      if (credential?.kind === "registry-token" && refused !== `Bearer ${credential.token}`) {
        return { kind: "fixed", header: `Bearer ${credential.token}` };
      }
      return { kind: "tokens", source: this.#tokens(bearer, credential) };
    }
    if (!challenges.some(({ scheme }) => scheme === "basic")) {
      throw this.#refused(`it requires ${challenges[0]?.scheme.slice(0, 20)}, which is not supported`);
    }
    if (credential?.kind !== "basic") throw this.#refused("it requires user and password");
    const header = basicAuthorization(credential);
    if (header === refused) throw this.#refused("it does not accept user and password");
    return { kind: "fixed", header };
  }

  #tokens(challenge: Challenge, credential: Credential | undefined): TokenSource {
    const { http, endpoint, scope, exchange } = this.options;
    return new TokenSource(challenge, credential?.kind === "registry-token" ? undefined : credential, {
      http,
      registry: endpoint.name,
      secure: endpoint.url("/").protocol === "https:",
      defaultScope: scope,
      exchange,
    });
  }

  #become(method: Method): void {
    this.#method = method;
    this.#generation++;
  }

  /** Adds to a refusal what was sent and how to fix it. Returns other errors unchanged. */
  explain(error: TransferError): TransferError {
    if (error.code !== "unauthorized") return error;
    const { state, prospect, status } = error;
    const { endpoint: { name } } = this.options;
    return new TransferError("unauthorized", `${state}, asked ${this.#sent()}`, {
      prospect,
      ...(status === undefined ? {} : { status }),
      hint: this.#credential?.source.hint ?? `docker login ${name}`,
      cause: error,
    });
  }

  #sent(): string {
    const { endpoint: { name }, initialToken, hasOwnHeader } = this.options;
    if (this.#credential) return `with ${NOUN[this.#credential.kind]} from ${this.#credential.source.name}`;
    const first = [...(hasOwnHeader ? ["a header of hosts.toml"] : []), ...(initialToken ? ["registry_token"] : [])];
    if (first.length > 0) return `with ${first.join(" and ")}, there is nothing else for ${name}`;
    return this.#credential === null ? "without credentials" : `without credentials, there are none for ${name}`;
  }

  #refused(why: string): TransferError {
    const state = `${this.options.endpoint.name} refused: ${why}`;
    return this.explain(new TransferError("unauthorized", state, { prospect: "permanent", status: 401 }));
  }
}

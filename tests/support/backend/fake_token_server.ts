/**
 * The token server of a {@link FakeRegistry}: GET as in the token specification, POST as OAuth 2.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { end } from "./faults.ts";

/** Options of the token server. */
export interface FakeTokenOptions {
  readonly user?: string;
  readonly password?: string;
  /** Accepted as a refresh token. */
  readonly identityToken?: string;
  /** An identity token is valid once, and the answer contains the next one. */
  readonly rotates?: boolean;
  /** Lifetime stated in answers; absent: not stated. */
  readonly expiresInSeconds?: number;
  /** Status of answers to GET: the server supports OAuth 2 only. */
  readonly getStatus?: 404 | 405;
}

/** The part of a request that its answer depends on. */
interface TokenRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Issues tokens and knows which are valid. */
export class FakeTokenServer {
  password: string | undefined;
  identityToken: string | undefined;
  readonly #tokens = new Set<string>();

  constructor(private readonly options: FakeTokenOptions) {
    this.password = options.password;
    this.identityToken = options.identityToken;
  }

  /** Whether this Authorization header has a valid token. */
  accepts(authorization: string): boolean {
    return this.#tokens.has(authorization.replace(/^Bearer /, ""));
  }

  /** Revokes every token issued so far. */
  expire(): void {
    this.#tokens.clear();
  }

  get basic(): string {
    return `Basic ${btoa(`${this.options.user}:${this.password}`)}`;
  }

  answer(seen: TokenRequest, response: ServerResponse): void {
    const { getStatus, user } = this.options;
    if (seen.method === "POST") return this.#oauth(new URLSearchParams(seen.body), response);
    if (getStatus !== undefined) return end(response, getStatus, {}, "no such page");
    const isAllowed = user === undefined || seen.headers.authorization === this.basic;
    if (!isAllowed) return end(response, 401, {}, "{}");
    end(response, 200, {}, JSON.stringify({ token: this.#give(), ...this.#life() }));
  }

  #oauth(form: URLSearchParams, response: ServerResponse): void {
    const refuse = (error: string) => end(response, 400, {}, JSON.stringify({ error }));
    if (!form.get("client_id") || !form.get("service")) return refuse("invalid_request");
    const grant = form.get("grant_type");
    if (grant !== "password" && grant !== "refresh_token") return refuse("unsupported_grant_type");
    const isAllowed = grant === "password"
      ? form.get("username") === this.options.user && form.get("password") === this.password
      : this.identityToken !== undefined && form.get("refresh_token") === this.identityToken;
    if (!isAllowed) return refuse("invalid_grant");
    if (grant === "refresh_token" && this.options.rotates) this.identityToken = randomUUID();
    const next = grant === "refresh_token" ? { refresh_token: this.identityToken } : {};
    end(response, 200, {}, JSON.stringify({ access_token: this.#give(), ...this.#life(), ...next }));
  }

  #give(): string {
    const token = randomUUID();
    this.#tokens.add(token);
    return token;
  }

  #life(): { expires_in?: number } {
    const { expiresInSeconds } = this.options;
    return expiresInSeconds === undefined ? {} : { expires_in: expiresInSeconds };
  }
}

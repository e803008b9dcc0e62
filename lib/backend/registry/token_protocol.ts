/**
 * What is asked of a token server, what it answers, and how it refuses.
 *
 * ```
 * anonymous, user and password       GET  realm?service=…&scope=…[&account=user]   (Authorization: Basic)
 * the same, where GET is not served  POST realm  grant_type=password&username=…&password=…&service=…&scope=…
 * identity token                     POST realm  grant_type=refresh_token&refresh_token=…&service=…&scope=…
 * ```
 * Source: the distribution project's token and oauth2 specifications; RFC 6749 sections 4.3, 5.2 and 6.
 *
 * @module
 */
import * as v from "valibot";
import { parseWith } from "../../base/schema.ts";
import type { HttpRequest } from "../http/http_client.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { errorBody, errorOfStatus } from "../http/status.ts";
import { brokenAnswer, TransferError } from "../http/transfer_error.ts";
import type { Credential } from "./keychain.ts";

const CLIENT_ID = "nydus-gd";
const ACCEPT = { accept: "application/json" };

/** Who grants what. */
export interface TokenGrant {
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scope: string;
}

/** As most token servers have it. A credential other than user and password has no place there. */
export function getToken({ realm, service, scope }: TokenGrant, credential: Credential | undefined): HttpRequest {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.set("scope", scope);
  url.searchParams.set("client_id", CLIENT_ID);
  if (credential?.kind !== "basic") return { method: "GET", url, headers: ACCEPT };
  url.searchParams.set("account", credential.user);
  return { method: "GET", url, headers: { ...ACCEPT, authorization: basicAuthorization(credential) } };
}

/** As OAuth 2 has it: the body says who asks, by `grant_type` and its parameters. */
export function postToken(
  { realm, service, scope }: TokenGrant,
  grant: Readonly<Record<string, string>>,
): HttpRequest {
  const form = new URLSearchParams({ ...grant, client_id: CLIENT_ID, scope });
  if (service !== undefined) form.set("service", service);
  return {
    method: "POST",
    url: realm,
    headers: { ...ACCEPT, "content-type": "application/x-www-form-urlencoded" },
    body: form.toString(),
  };
}

/** The form of a grant for user and password. */
export function passwordGrant({ user, password }: BasicCredential): Record<string, string> {
  return { grant_type: "password", username: user, password };
}

/** The form of a grant for an identity token. */
export function refreshGrant(token: string): Record<string, string> {
  return { grant_type: "refresh_token", refresh_token: token };
}

type BasicCredential = Extract<Credential, { kind: "basic" }>;

/** `Basic <base64 of user:password>`. */
export function basicAuthorization({ user, password }: BasicCredential): string {
  return `Basic ${new TextEncoder().encode(`${user}:${password}`).toBase64()}`;
}

/** A token lives this long where its server does not say. */
const DEFAULT_LIFETIME_S = 60;

const ANSWER = v.object({
  token: v.optional(v.string()),
  access_token: v.optional(v.string()),
  expires_in: v.optional(v.number()),
  refresh_token: v.optional(v.string()),
});

/** What was granted. */
export interface TokenAnswer {
  /** Goes behind "Bearer " as it is. */
  readonly value: string;
  readonly lifetimeMs: number;
  /** Replaces the identity token that was sent, which may have been good for one time only. */
  readonly identityToken: string | undefined;
}

/**
 * The body of a 200.
 *
 * @param host who sent it, for messages: of the text itself none repeats a word
 * @throws {TransferError} "unavailable" for anything without a token
 */
export function parseTokenAnswer(text: string, host: string): TokenAnswer {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw brokenAnswer(`${host} gave no JSON`);
    throw error;
  }
  const result = parseWith(ANSWER, document);
  const value = result.ok ? result.value.token || result.value.access_token : undefined;
  if (!result.ok || value === undefined || !/^[\x21-\x7e]+$/.test(value)) throw brokenAnswer(`${host} gave no token`);
  const { expires_in = DEFAULT_LIFETIME_S, refresh_token } = result.value;
  return { value, lifetimeMs: Math.max(0, expires_in) * 1000, identityToken: refresh_token || undefined };
}

const OAUTH_ERROR =
  /"error"\s*:\s*"(invalid_(?:request|client|grant|scope)|unauthorized_client|unsupported_grant_type|access_denied)"/;
/** What HTTP 400 says of a password or token that is wrong, has expired or was revoked. */
const REFUSED = new Set(["invalid_client", "invalid_grant", "unauthorized_client", "access_denied"]);

/** The error that an answer other than 200 stands for. Reads the body. */
export async function tokenError(response: HttpResponse): Promise<TransferError> {
  const code = OAUTH_ERROR.exec(await errorBody(response))?.[1];
  const error = errorOfStatus(response, code);
  const { state, status = response.status } = error;
  if (code !== undefined && REFUSED.has(code)) {
    return new TransferError("unauthorized", state, { prospect: "permanent", status });
  }
  // what is not there is the token server, and not what the token is for
  if (error.code === "not-found") return new TransferError("unavailable", state, { prospect: "permanent", status });
  return error;
}

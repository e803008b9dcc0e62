/**
 * Credentials for tests, as a keychain returns them.
 *
 * @module
 */
import type { Credential } from "../../../lib/backend/registry/credential.ts";

const source = { name: "the test" };

export function basic(user: string, password: string): Credential {
  return { kind: "basic", user, password, source };
}

export function identityToken(token: string): Credential {
  return { kind: "identity-token", token, source };
}

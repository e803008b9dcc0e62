/**
 * Remembers which logins were used: the daemon will need the same ones.
 *
 * @module
 */
import type { Credential } from "../../backend/registry/credential.ts";
import type { Keychain } from "../../backend/registry/keychain.ts";
import type { PulledImage } from "../lazy/records/pulled_images.ts";

/** A keychain that remembers the credentials it returned. */
export class SeenLogins implements Keychain {
  readonly #seen = new Map<string, Credential>();

  constructor(private readonly keychain: Keychain) {}

  async resolve(host: string, signal?: AbortSignal): Promise<Credential | undefined> {
    const credential = await this.keychain.resolve(host, signal);
    if (credential !== undefined) this.#seen.set(host, credential);
    return credential;
  }

  /** The login used for a registry; undefined if none was needed. */
  of(host: string): Credential | undefined {
    return this.#seen.get(host);
  }

  /** All logins, with the host that asked for each. */
  list(): PulledImage["logins"] {
    return [...this.#seen].map(([host, { source: _ours, ...login }]) => ({ ...login, host }));
  }
}

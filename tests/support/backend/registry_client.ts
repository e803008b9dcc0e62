/**
 * A minimal client that pushes blobs and manifests to a registry by fetch, independent of the code under test.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Descriptor of pushed content. */
export interface Pushed {
  readonly digest: string;
  readonly size: number;
}

/** "sha256:…" of some bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Pushes into one repository of the registry at `baseUrl` ("http://127.0.0.1:5000"). */
export class RegistryClient {
  constructor(
    private readonly baseUrl: string,
    private readonly repository: string,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  /** Uploads a blob in one piece. */
  async pushBlob(bytes: Uint8Array<ArrayBuffer>): Promise<Pushed> {
    const digest = digestOf(bytes);
    const started = await this.#send("POST", `${this.baseUrl}/v2/${this.repository}/blobs/uploads/`);
    const location = new URL(started.headers.get("location") ?? "", this.baseUrl);
    location.searchParams.set("digest", digest);
    await this.#send("PUT", location.href, bytes, "application/octet-stream");
    return { digest, size: bytes.length };
  }

  /** Uploads a manifest or index under a tag. */
  async pushManifest(tag: string, mediaType: string, document: unknown): Promise<Pushed> {
    const bytes = new TextEncoder().encode(JSON.stringify(document));
    await this.#send("PUT", `${this.baseUrl}/v2/${this.repository}/manifests/${tag}`, bytes, mediaType);
    return { digest: digestOf(bytes), size: bytes.length };
  }

  async #send(method: string, url: string, body?: Uint8Array<ArrayBuffer>, type?: string): Promise<Response> {
    const headers = { ...this.headers, ...(type === undefined ? {} : { "content-type": type }) };
    const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
    const text = await response.text();
    if (!response.ok) throw new Error(`Cannot push: ${method} ${new URL(url).pathname}: ${response.status} ${text}`);
    return response;
  }
}

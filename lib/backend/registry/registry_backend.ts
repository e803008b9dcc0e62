/**
 * The backend `registry`: the blobs of one repository.
 *
 * @module
 */
import type { Backend, BlobSource } from "../blob_source.ts";
import { RegistryBlob } from "./blob.ts";
import { RegistryTransport, type TransportOptions } from "./transport.ts";

/** One repository; its blobs share login, connections and limits. */
export class RegistryBackend implements Backend {
  readonly description: string;
  /** For what is no blob: manifests. */
  readonly transport: RegistryTransport;

  constructor(options: TransportOptions) {
    this.transport = new RegistryTransport(options);
    this.description = this.transport.description;
  }

  /** @throws {NydusGdError} "invalid-image" for an id that is no sha256 */
  blob(id: string): BlobSource {
    return new RegistryBlob(this.transport, id);
  }
}

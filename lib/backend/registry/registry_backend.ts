/**
 * The backend `registry`: the blobs of one repository.
 *
 * @module
 */
import type { Backend, BlobSource } from "../blob_source.ts";
import { RegistryBlob } from "./blob.ts";
import type { Repository } from "./repository.ts";

/** One repository; its blobs share logins, connections and limits. */
export class RegistryBackend implements Backend {
  readonly description: string;

  /** @param transport also for what is no blob: manifests */
  constructor(readonly transport: Repository) {
    this.description = transport.description;
  }

  /** @throws {NydusGdError} "invalid-image" for an id that is no sha256 */
  blob(id: string): BlobSource {
    return new RegistryBlob(this.transport, id);
  }
}

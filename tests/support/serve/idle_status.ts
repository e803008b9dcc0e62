/**
 * Status of a daemon that is not used yet.
 *
 * @module
 */
import type { StatusDocument } from "../../../lib/image/lazy/report/status_document.ts";

/** Up for three hours, nothing mounted, nothing fetched. */
export const IDLE_STATUS: StatusDocument = {
  version: "0.1.0",
  pid: 7,
  started_at: "2025-01-01T00:00:00.000Z",
  uptime_seconds: 11_525,
  kernel: "6.1.0",
  root: "/var/lib/nydus-gd",
  log_level: "info",
  data_path: { fs_driver: "fuse", reason: "selected by name" },
  cache: { dir: "/c", usage: { used_bytes: 0, kernel_bytes: 0, free_bytes: 20e9, total_bytes: 50e9 } },
  fetched: { bytes: 0, requests: 0, failed_requests: 0, corrupt_chunks: 0 },
  fuse: null,
  layers: null,
  images: [],
  problems: [],
};

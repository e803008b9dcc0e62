/**
 * Derives the lifetime of a redirect target from the presigned URL.
 *
 * S3 and compatible stores: `X-Amz-Date` and `X-Amz-Expires`; Google: the same with `X-Goog-`; CloudFront and OSS:
 * `Expires`, in seconds since 1970; Azure: `se`, a date.
 *
 * @module
 */

/** Lifetime of a URL without an expiry. */
const DEFAULT_MS = 5 * 60_000;
/** Maximum lifetime, whatever the URL says: stores move. */
const MAX_MS = 60 * 60_000;
/** Safety margin before the expiry, for the duration of a request. */
const MARGIN_MS = 15_000;

/** Returns the remaining lifetime in milliseconds; 0 for an expired URL. */
export function locationLifetimeMs(url: URL, nowMs = Date.now()): number {
  const endMs = expiryOf(url.searchParams);
  if (endMs === undefined) return DEFAULT_MS;
  return Math.max(0, Math.min(MAX_MS, endMs - nowMs - MARGIN_MS));
}

function expiryOf(query: URLSearchParams): number | undefined {
  for (const vendor of ["X-Amz", "X-Goog"]) {
    const seconds = Number(query.get(`${vendor}-Expires`) ?? NaN);
    const date = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get(`${vendor}-Date`) ?? "");
    if (date !== null && Number.isFinite(seconds)) {
      const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = date.slice(1).map(Number);
      return Date.UTC(year, month - 1, day, hour, minute, second) + seconds * 1000;
    }
  }
  const unix = query.get("Expires");
  if (unix !== null && /^\d{9,11}$/.test(unix)) return Number(unix) * 1000;
  const azure = Date.parse(query.get("se") ?? "");
  return Number.isNaN(azure) ? undefined : azure;
}

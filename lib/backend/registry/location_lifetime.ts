/**
 * How long the target of a redirect can be used, read off the presigned URL itself.
 *
 * S3 and its kin: `X-Amz-Date` and `X-Amz-Expires`; Google: the same with `X-Goog-`; CloudFront and OSS: `Expires`, in
 * seconds since 1970; Azure: `se`, a date.
 *
 * @module
 */

/** For a URL that does not say. */
const DEFAULT_MS = 5 * 60_000;
/** No address is used longer, whatever it says: stores move. */
const MAX_MS = 60 * 60_000;
/** Ends this much early, for the time that a request takes. */
const MARGIN_MS = 15_000;

/** Milliseconds from now; 0 for a URL that is no longer good. */
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

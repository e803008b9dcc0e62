/**
 * Redacts secrets in values to be logged.
 *
 * Secrets are recognized by property name (password, token, authorization, …), and by form in any text: credentials in
 * a URL, the value of an Authorization header, signatures and tokens in a query. The result is suitable for JSON:
 * errors become their message and code, big integers and bytes become text, cycles and depths past {@link MAX_DEPTH}
 * are cut.
 *
 * @module
 */

const REDACTED = "[redacted]";

/** Maximum depth of nested objects. */
const MAX_DEPTH = 6;

const SECRET_NAME =
  /^(auth|cookie|set-cookie|signature|sig)$|pass(word|wd|phrase)|secret|token|authorization|credential|(api|access|private|registry)[-_]?key(?![-_]?id)|registry[-_]?auth/i;

const SECRET_FORMS: readonly (readonly [form: RegExp, kept: string])[] = [
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]*@/gi, `$1${REDACTED}@`],
  [/\b(Basic|Bearer)\s+[A-Za-z0-9._~+/=-]{4,}/gi, `$1 ${REDACTED}`],
  [/([?&][^=&\s]*(?:signature|token|secret|password|credential|sig|key)=)[^&\s"']+/gi, `$1${REDACTED}`],
];

/** Removes credentials from text. */
export function redactText(text: string): string {
  return SECRET_FORMS.reduce((redacted, [form, kept]) => redacted.replace(form, kept), text);
}

/** Returns a copy of the value without secrets, suitable for JSON. */
export function redact(value: unknown): unknown {
  return visit(value, new Set(), 0);
}

function visit(value: unknown, above: Set<object>, depth: number): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint" || typeof value === "symbol") return value.toString();
  if (typeof value === "function") return "[function]";
  if (typeof value !== "object" || value === null) return value;
  if (above.has(value)) return "[circular]";
  if (depth >= MAX_DEPTH) return "[…]";
  above.add(value);
  try {
    return visitObject(value, (inner) => visit(inner, above, depth + 1));
  } finally {
    above.delete(value);
  }
}

function visitObject(value: object, inner: (value: unknown) => unknown): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (value instanceof URL) return redactText(value.href);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map(inner);
  if (value instanceof Error) {
    const cause = value.cause === undefined ? {} : { cause: inner(value.cause) };
    const code = "code" in value && typeof value.code === "string" ? { code: value.code } : {};
    return { name: value.name, message: redactText(value.message), ...code, ...cause };
  }
  const entries = value instanceof Map ? [...value].map(([key, item]) => [String(key), item]) : Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, item]) => [key, SECRET_NAME.test(key) && isSecretValue(item) ? REDACTED : inner(item)]),
  );
}

/** Whether a value can be a secret: numbers, booleans and undefined ("tokens: 3") reveal nothing. */
function isSecretValue(value: unknown): boolean {
  return typeof value === "string" || (typeof value === "object" && value !== null);
}

import assert from "node:assert/strict";
import { ossAuthorization, OssSigner } from "./oss_signer.ts";
import { S3Signer } from "./s3_signer.ts";

/** The key pair of Amazon's examples. */
const AMAZON = { id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
/** The key pair of Alibaba's examples. */
const ALIBABA = { id: "44CF9590006BF252F707", secret: "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV" };

Deno.test("S3: the signature of Amazon's published range example matches", async () => {
  const signer = new S3Signer(AMAZON, "us-east-1", () => Date.UTC(2013, 4, 24));
  const url = new URL("https://examplebucket.s3.amazonaws.com/test.txt");
  const headers = await signer.sign("GET", url, { range: "bytes=0-9" });
  assert.equal(
    headers.authorization?.replaceAll(", ", ","),
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
      "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
      "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
  assert.equal(headers["x-amz-date"], "20130524T000000Z");
  assert.equal(headers.range, "bytes=0-9");
});

Deno.test("S3: a signing key derived for one day is not used on the next", async () => {
  let now = Date.UTC(2013, 4, 23, 23, 59, 59);
  const signer = new S3Signer(AMAZON, "us-east-1", () => now);
  const url = new URL("https://examplebucket.s3.amazonaws.com/test.txt");
  await signer.sign("GET", url, { range: "bytes=0-9" });
  now += 1000;
  const { authorization } = await signer.sign("GET", url, { range: "bytes=0-9" });
  assert.match(authorization ?? "", /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/);
});

Deno.test("OSS: the signature of Alibaba's published example matches", () => {
  const headers = {
    "x-oss-meta-author": "foo@bar.com",
    "x-oss-magic": "abracadabra",
    "content-md5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
    "content-type": "text/html",
    date: "Thu, 17 Nov 2005 18:49:58 GMT",
  };
  assert.equal(
    ossAuthorization(ALIBABA, "PUT", "/oss-example/nelson", headers),
    "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=",
  );
});

Deno.test("OSS: bucket and key are signed by name, whatever the form of the URL", async () => {
  const signer = new OssSigner(ALIBABA, "oss-example", () => Date.UTC(2005, 10, 17, 18, 49, 58));
  const url = new URL("https://oss-example.oss-cn-hangzhou.aliyuncs.com/nydus/a%20b%2Bc");
  const { date = "", authorization } = await signer.sign("GET", url, { range: "bytes=0-9" });
  assert.equal(date, "Thu, 17 Nov 2005 18:49:58 GMT");
  assert.equal(authorization, ossAuthorization(ALIBABA, "GET", "/oss-example/nydus/a b+c", { date }));
});

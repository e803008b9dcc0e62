/**
 * Referrers of an image are copied with the original, and only with it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConvertKit } from "../../../../tests/support/image/convert_kit.ts";
import {
  addReferrer,
  type LayoutDescriptor,
  type TestImage,
  writeLayout,
} from "../../../../tests/support/image/layout_builder.ts";
import { file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";

const IMAGE: TestImage = { layers: [{ tar: tarOf(file("a", "1")) }] };

interface Entry extends LayoutDescriptor {
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
  readonly platform?: { readonly os: string; readonly "os.features"?: readonly string[] };
}

interface Listed {
  readonly manifests: readonly Entry[];
  readonly annotations?: Record<string, string>;
}

interface Parts {
  readonly subject?: LayoutDescriptor;
  readonly layers: readonly LayoutDescriptor[];
}

function indexOf(kit: ConvertKit, digest: string): Listed {
  return kit.json(digest) as unknown as Listed;
}

/** Entries of index.json without a name. */
function unnamed(kit: ConvertKit): readonly Entry[] {
  const { manifests } = JSON.parse(Deno.readTextFileSync(kit.temp.join("target/index.json"))) as Listed;
  return manifests.filter(({ annotations }) => annotations === undefined);
}

Deno.test("signatures, countersignatures and attestations are copied with the original", async () => {
  using kit = new ConvertKit();
  const source = kit.temp.join("source");
  const [image] = await writeLayout(source, { ...IMAGE, attested: "how it was built" });
  const signature = await addReferrer(source, image as LayoutDescriptor, "application/x-signature", "signed");
  const countersigned = await addReferrer(source, signature, "application/x-signature", "signed again");
  for (let time = 0; time < 2; time++) {
    const { digest } = await kit.convert(kit.named("source"), kit.named("target"), {}, { withOci: true });
    const [original, attestation, ...converted] = indexOf(kit, digest).manifests;
    assert.deepEqual([original?.digest, converted.length], [image?.digest, 2]);
    assert.deepEqual(attestation?.platform, { os: "unknown", architecture: "unknown" });
    assert.equal(attestation?.annotations?.["vnd.docker.reference.digest"], image?.digest);
    const { layers } = kit.json(attestation?.digest ?? "") as unknown as Parts;
    const statement = kit.temp.join(`target/blobs/${layers[0]?.digest.replace(":", "/")}`);
    assert.equal(await Deno.readTextFile(statement), "how it was built");

    assert.deepEqual(unnamed(kit).map(({ digest }) => digest), [signature.digest, countersigned.digest]);
    assert.equal((kit.json(signature.digest) as unknown as Parts).subject?.digest, image?.digest);
    assert.equal((kit.json(countersigned.digest) as unknown as Parts).subject?.digest, signature.digest);
  }
  assert.deepEqual(await kit.paths(), ["/", "/a"]);
});

Deno.test("without the original none of its referrers is copied", async () => {
  using kit = new ConvertKit();
  const source = kit.temp.join("source");
  const [image] = await writeLayout(source, { ...IMAGE, attested: "how it was built" });
  await addReferrer(source, image as LayoutDescriptor, "application/x-signature", "signed");
  const { digest } = await kit.convert(kit.named("source"), kit.named("target"));
  assert.equal(indexOf(kit, digest).manifests.length, 2);
  assert.deepEqual(unnamed(kit), []);
});

Deno.test("the subject of an image stays its subject after conversion", async () => {
  using kit = new ConvertKit();
  const [subject] = await writeLayout(kit.temp.join("other"), IMAGE);
  await writeLayout(kit.temp.join("source"), { ...IMAGE, subject: subject as LayoutDescriptor });
  const { digest } = await kit.convert(kit.named("source"), kit.named("target"));
  const { manifests } = indexOf(kit, digest);
  assert.deepEqual(manifests.map((entry) => (kit.json(entry.digest) as unknown as Parts).subject), [subject, subject]);
});

Deno.test("platform features are kept on every entry, and an image with nydus's feature is not a source", async () => {
  using kit = new ConvertKit();
  const other = { ...IMAGE, layers: [{ tar: tarOf(file("b", "2")) }] };
  await writeLayout(
    kit.temp.join("source"),
    { ...other, osFeatures: ["nydus.remoteimage.v1"] },
    { ...IMAGE, osFeatures: ["x-fast"] },
  );
  const { digest } = await kit.convert(kit.named("source"), kit.named("target"), {}, { withOci: true });
  const { manifests } = indexOf(kit, digest);
  assert.deepEqual(manifests.map(({ platform }) => platform?.["os.features"]), [["x-fast"], ["x-fast"], ["x-fast"]]);
  assert.deepEqual(await kit.paths(), ["/", "/a"]);
});

Deno.test("a signature is not an image, and is refused as such", async () => {
  using kit = new ConvertKit();
  const source = kit.temp.join("source");
  const [image] = await writeLayout(source, IMAGE);
  await addReferrer(source, image as LayoutDescriptor, "application/x-signature", "signed");
  await kit.convert(`oci:${source}`, kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/a"]);
  const index = JSON.parse(await Deno.readTextFile(`${source}/index.json`)) as { manifests: Entry[] };
  index.manifests.shift();
  await Deno.writeTextFile(`${source}/index.json`, JSON.stringify(index));
  await assert.rejects(
    () => kit.convert(`oci:${source}`, kit.named("other")),
    /^NydusGdError: Cannot convert .*: it is not an image, but "application\/x-signature"$/,
  );
});

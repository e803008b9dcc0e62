import { deepEqual, equal, match, throws } from "node:assert/strict";
import { formatLower, HomePaths, idOfLinkTarget, linkTarget, newShortName, parseLower } from "./layer_paths.ts";

Deno.test("a home is an absolute folder that is not the root", () => {
  equal(new HomePaths("/srv/gd").layer("a").merged, "/srv/gd/a/merged");
  for (const home of ["", "relative", "/"]) throws(() => new HomePaths(home), RangeError);
});

Deno.test("no id leads out of the home", () => {
  const paths = new HomePaths("/srv/gd");
  for (const id of ["../x", "a/b", "", "l", ".removing"]) {
    throws(() => paths.layer(id), { code: "usage" });
    throws(() => paths.staging(id), { code: "usage" });
  }
});

Deno.test("a lower file is read back as it was written", () => {
  const names = [newShortName(), newShortName(), newShortName()];
  match(names[0] ?? "", /^[A-Z2-7]{26}$/);
  deepEqual(parseLower(formatLower(names)), names);
  deepEqual(parseLower(formatLower(names) + "\n"), names);
});

Deno.test("a lower file with any other content is damaged", () => {
  for (const text of ["", "l/", "../x", "l/../../etc", `x/${newShortName()}`, `l/${newShortName()}:`]) {
    equal(parseLower(text), undefined, text);
  }
});

Deno.test("the target of a link yields its layer id, for links of ours only", () => {
  equal(idOfLinkTarget(linkTarget("abc")), "abc");
  for (const target of ["/etc", "../../x/diff", "../x/diff/y", "../x", "../../diff", "../.making/diff", "../l/diff"]) {
    equal(idOfLinkTarget(target), undefined);
  }
});

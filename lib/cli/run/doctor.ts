/**
 * Implements `nydus-gd doctor`: runs the checks and prints their results.
 *
 * @module
 */
import { VERSION } from "../../base/version.ts";
import { diagnose, type Diagnosis } from "../../doctor/doctor.ts";
import type { ActionContext, DoctorArgs } from "../actions.ts";
import { DoctorText } from "../doctor_text.ts";
import { EXIT } from "../failure.ts";
import { lookOf } from "../output.ts";

/** Diagnoses the installation. Returns 3 if a check failed. */
export async function doctor({ output, dockerHost, ...places }: DoctorArgs, context: ActionContext): Promise<number> {
  const { signal, stdout } = context;
  const options = { ...places, dockerHost };
  if (output === "json") {
    const diagnosis = await diagnose(options, signal);
    stdout.write(`${JSON.stringify(documentOf(diagnosis))}\n`);
    return statusOf(diagnosis);
  }
  const text = new DoctorText(lookOf(stdout));
  stdout.write(text.heading());
  const diagnosis = await diagnose(options, signal, (result) => stdout.write(text.result(result)));
  stdout.write(text.summary(diagnosis.counts));
  return statusOf(diagnosis);
}

function statusOf({ counts }: Diagnosis): number {
  return counts.fail > 0 ? EXIT.foundWrong : EXIT.done;
}

/** Returns the document of `-o json`. Member names are a stable interface. */
function documentOf({ checks, counts }: Diagnosis): unknown {
  return { version: VERSION, kernel: Deno.osRelease(), arch: Deno.build.arch, counts, checks };
}

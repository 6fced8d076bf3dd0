// The lines that the client for Node prints: one per check.

import { isDeepStrictEqual } from "node:util";

let failed = false;

// Throws unless two values are equal.
export function expect(what, found, wanted) {
  if (!isDeepStrictEqual(found, wanted)) {
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
}

// Runs one check, which returns its figures. Any exception is a failure.
export async function check(client, what, call) {
  const began = performance.now();
  let outcome;
  try {
    outcome = `ok      ${client}: ${what}: ${await call()}`;
  } catch (error) {
    failed = true;
    outcome = `FAILED  ${client}: ${what}: ${error.name}: ${error.message}`;
    console.error(error);
  }
  console.log(`${outcome} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
}

// Sets the exit status of the program.
export function end() {
  process.exitCode = failed ? 1 : 0;
}

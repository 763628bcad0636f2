/** The bundled core in places that have no files: workerd, and a context with nothing but the web's globals. */
import { createContext, Script } from "node:vm";
import { Miniflare } from "miniflare";

/** Runs a module whose default export is a worker in workerd, without Node's compatibility. Resolves with the JSON it answers. */
export async function inWorkerd(code) {
  const miniflare = new Miniflare({
    modules: true,
    script: code,
    compatibilityDate: "2026-01-01",
    compatibilityFlags: [],
  });
  try {
    const response = await miniflare.dispatchFetch("http://worker/");
    const text = await response.text();
    if (response.status !== 200) throw new Error(text);
    return JSON.parse(text);
  } finally {
    await miniflare.dispose();
  }
}

/** Runs a classic script, which leaves `smoke` behind, in a context that has what every browser has, and no more of it than is used. */
export async function inBareContext(code) {
  const context = createContext(
    {
      setTimeout: (callback, ms) => Number(setTimeout(() => callback(), ms)),
      clearTimeout,
      performance: { now: () => performance.now() },
    },
    // As under a strict content security policy: nothing may compile code.
    { codeGeneration: { strings: false, wasm: false } },
  );
  context.crypto = { getRandomValues: (bytes) => crypto.getRandomValues(bytes) };
  context.TextEncoder = TextEncoder;
  context.TextDecoder = TextDecoder;
  new Script(code).runInContext(context);
  return JSON.parse(await new Script("smoke.run().then(JSON.stringify)").runInContext(context));
}

/** The declarations, compiled as strictly as anybody can, in projects that know no more than they must. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../node24.mjs";
import { run } from "./process.mjs";

const STRICT = { strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true, types: [] };
const NODENEXT = { module: "nodenext", moduleResolution: "nodenext" };
const BUNDLER = { module: "esnext", moduleResolution: "bundler" };

const PROJECTS = {
  "nodenext, ES2022, neither DOM nor Node's types": { ...NODENEXT, target: "es2022", lib: ["es2022"] },
  "nodenext, ESNext and DOM": { ...NODENEXT, target: "esnext", lib: ["esnext", "dom"] },
  "bundler, ES2022, neither DOM nor Node's types": { ...BUNDLER, target: "es2022", lib: ["es2022"] },
  "bundler, the conditions of workerd": {
    ...BUNDLER,
    target: "es2022",
    lib: ["es2022"],
    customConditions: ["workerd"],
  },
};

export async function checkTypes(checks, { consumer }) {
  await Promise.all(
    Object.entries(PROJECTS).map(([name, options], index) =>
      checks.check(`types: ${name}`, async () => {
        const project = join(consumer, `tsconfig-${index}.json`);
        writeFileSync(project, JSON.stringify({ compilerOptions: { ...STRICT, ...options }, include: ["types"] }));
        await run(join(root, "node_modules/.bin/tsc"), ["-p", project], { cwd: consumer });
      }),
    ),
  );
}

/** The declarations, compiled as strictly as anybody can, in projects that know no more than they must. */
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../node24.mjs";
import { run } from "./process.mjs";

const STRICT = { strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true, types: [] };
const NODENEXT = { module: "nodenext", moduleResolution: "nodenext", target: "es2022", lib: ["es2022"] };
const BUNDLER = { module: "esnext", moduleResolution: "bundler", target: "es2022", lib: ["es2022"] };

const OURS = join(root, "node_modules/typescript/bin/tsc");
/** The compiler that the linter of types brings along. */
const OLDER = createRequire(join(root, "node_modules/@arethetypeswrong/core/package.json")).resolve(
  "typescript/bin/tsc",
);

const PROJECTS = [
  { name: "nodenext, ES2022, neither DOM nor Node's types", options: NODENEXT, compiler: OURS },
  { name: "nodenext, ES2022, neither DOM nor Node's types, an older compiler", options: NODENEXT, compiler: OLDER },
  {
    name: "nodenext, ESNext and DOM",
    options: { ...NODENEXT, target: "esnext", lib: ["esnext", "dom"] },
    compiler: OURS,
  },
  { name: "bundler, ES2022, neither DOM nor Node's types", options: BUNDLER, compiler: OURS },
  {
    name: "bundler, the conditions of workerd",
    options: { ...BUNDLER, customConditions: ["workerd"] },
    compiler: OURS,
  },
];

export async function checkTypes(checks, { consumer }) {
  await Promise.all(
    PROJECTS.map(({ name, options, compiler }, index) =>
      checks.check(`types: ${name}`, async () => {
        const project = join(consumer, `tsconfig-${index}.json`);
        writeFileSync(project, JSON.stringify({ compilerOptions: { ...STRICT, ...options }, include: ["types"] }));
        await run(process.execPath, [compiler, "-p", project], { cwd: consumer });
        return (await run(process.execPath, [compiler, "--version"])).trim();
      }),
    ),
  );
}

/** The installed package at work in Node 20, Node 24, Deno and Bun, each alone and all on one file. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assert, assertEqual } from "./checks.mjs";
import { run } from "./process.mjs";

/** Groups of four sets and a sum that each runtime writes while the others do. */
const GROUPS = 250;
const SETS = GROUPS * 4;

/** `encoded`: what the values became elsewhere, by place. */
export async function checkRuntimes(checks, { folder, consumer, runtimes, encoded }) {
  const data = join(folder, "data");
  mkdirSync(data);
  const file = (name) => join(data, `${name}.db`);
  const present = runtimes.filter((runtime) => runtime.missing === undefined);
  for (const { name, missing } of runtimes) if (missing !== undefined) checks.skip(`smoke test on ${name}`, missing);

  /** Runs file.mjs in a runtime and gives what it printed. */
  const call = async ({ program, args }, [command, path, ...rest], { allowSys = true } = {}) => {
    const before = args({ folder: data, allowSys });
    return JSON.parse(
      await run(program, [...before, "file.mjs", command, path, ...rest.map(String)], { cwd: consumer }),
    );
  };

  for (const runtime of present) {
    await checks.check(`smoke test on ${runtime.name} ${runtime.version}, file and memory`, async () => {
      const result = await call(runtime, ["smoke", file(runtime.name)]);
      if (process.platform === "linux") assertEqual(result.networkFileSystemChecked, true);
      encoded[runtime.name] = result.encoded;
    });
  }

  for (const runtime of present.filter(({ name }) => name !== "Deno")) {
    await checks.check(`the program for the command line on ${runtime.name}`, async () => {
      const program = join(consumer, "node_modules/foliokv/dist/node/cli.js");
      const tell = (...words) => run(runtime.program, [program, file(`typed on ${runtime.name}`), ...words]);
      await tell("set", "users.1", '{"name":"Alice"}');
      assertEqual(await tell("list"), "[ 'users', 1 ]  { name: 'Alice' }\n");
    });
  }
  await checks.check("the program for the command line by its name", async () => {
    const name = process.platform === "win32" ? "foliokv.cmd" : "foliokv";
    assert((await run(join(consumer, "node_modules/.bin", name), ["help"])).includes("set:date"), "help");
  });

  const deno = present.find((runtime) => runtime.name === "Deno");
  if (deno === undefined) checks.skip("Deno without --allow-sys", "there is no Deno");
  else {
    await checks.check(
      "Deno without --allow-sys opens, and stats() says that the file system was not asked",
      async () => {
        const result = await call(deno, ["smoke", file("deno without sys")], { allowSys: false });
        assertEqual(result.networkFileSystemChecked, false);
      },
    );
  }

  await checks.check(`the same bytes for the same values in ${Object.keys(encoded).join(", ")}`, () => {
    const [[, expected], ...others] = Object.entries(encoded);
    for (const [place, bytes] of others) {
      for (const name of Object.keys(expected)) assertEqual(bytes[name], expected[name], `${name} in ${place}`);
    }
    return `${Object.keys(expected).length} values`;
  });

  for (const author of present) {
    await checks.check(`what ${author.name} writes, the others read`, async () => {
      await call(author, ["fill", file(`by ${author.name}`)]);
      await Promise.all(present.map((reader) => call(reader, ["verify", file(`by ${author.name}`)])));
    });
  }

  await checks.check(
    `${present.map(({ name }) => name).join(", ")} write to one file at once, nothing is lost`,
    async () => {
      const path = file("together");
      const loads = present.map((runtime) => call(runtime, ["load", path, runtime.name, present.length, GROUPS]));
      const reports = await Promise.all(loads);
      const expected = {};
      present.forEach(({ name }, index) => {
        const versions = reports[index].acknowledged;
        assertEqual(versions.length, SETS);
        versions.forEach((version, place) => (expected[`${name} ${place}`] = version));
      });
      assert(new Set(Object.values(expected)).size === SETS * present.length, "each commit has a version of its own");
      for (const auditor of present) {
        const found = await call(auditor, ["audit", path]);
        assertEqual(found.sum, GROUPS * present.length, auditor.name);
        assertEqual(Object.keys(found.versions).length, SETS * present.length, auditor.name);
        for (const [key, version] of Object.entries(expected))
          assertEqual(found.versions[key], version, `${auditor.name}: ${key}`);
      }
      return `${SETS * present.length} acknowledged sets, found with their versions by each of them`;
    },
  );
}

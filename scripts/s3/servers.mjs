/**
 * Servers of object storage that need nothing but themselves, at the versions that were tried; where they are found here, and how they get here:
 * built by Go, into an ignored folder of this checkout.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { root } from "../node24.mjs";

/** What a server lets in. */
export const credentials = { accessKeyId: "foliokv", secretAccessKey: "foliokv-secret" };

/** `command`: the package of the program within the Go module. `args`: how it is started. */
export const servers = [
  {
    name: "versitygw",
    module: "github.com/versity/versitygw",
    command: "/cmd/versitygw",
    version: "v1.8.0",
    args: (port, folder) => ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", folder],
    env: { ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey },
  },
  {
    name: "minio",
    module: "github.com/minio/minio",
    command: "",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
    args: (port, folder) => ["server", folder, "--address", `127.0.0.1:${port}`, "--quiet"],
    env: {
      MINIO_ROOT_USER: credentials.accessKeyId,
      MINIO_ROOT_PASSWORD: credentials.secretAccessKey,
      MINIO_BROWSER: "off",
    },
  },
  {
    name: "gofakes3",
    module: "github.com/johannesboyne/gofakes3",
    command: "/cmd/gofakes3",
    version: "v1.2.0",
    args: (port) => ["-backend", "memory", "-host", `127.0.0.1:${port}`, "-quiet"],
    env: {},
  },
];

const installFolder = join(root, ".cache/s3-servers");
/** A proxy of modules may fail for a moment; each attempt ends, and with it the whole. */
const ATTEMPTS = 3;
const ATTEMPT_MS_MAX = 10 * 60_000;
const PAUSE_MS = 5000;

/** The server's program and the version it was built from: in the folder of this checkout or on the path, rather the pinned one. */
export function findServer(server) {
  const places = [installFolder, ...(process.env.PATH ?? "").split(delimiter)].filter((place) => place !== "");
  const programs = places.map((place) => join(place, server.name)).filter(isExecutable);
  const found = programs.map((program) => ({ program, version: builtFrom(program, server) }));
  return found.find(({ version }) => version === server.version) ?? found[0];
}

/** Whether Go is here, which builds them. */
export function hasGo() {
  return spawnSync("go", ["version"], { stdio: "ignore" }).status === 0;
}

export function installCommand({ module, command, version }) {
  return `go install ${module}${command}@${version}`;
}

/** Installs the pinned version, unless it is there. Says why if it cannot; what is there afterwards is for `findServer` to tell. */
export async function installServer(server) {
  if (findServer(server)?.version === server.version) return;
  if (!hasGo()) return console.log(`${server.name} cannot be installed: there is no Go.`);
  mkdirSync(installFolder, { recursive: true });
  const [program, ...args] = installCommand(server).split(" ");
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    console.log(`\n> ${installCommand(server)}`);
    const env = { ...process.env, GOBIN: installFolder };
    const { status, signal } = spawnSync(program, args, { cwd: root, stdio: "inherit", env, timeout: ATTEMPT_MS_MAX });
    if (status === 0) return;
    console.log(`attempt ${attempt} of ${ATTEMPTS} to install ${server.name} ended with ${signal ?? status}`);
    if (attempt < ATTEMPTS) await wait(PAUSE_MS);
  }
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Go writes down in each program what it was built from, as lines of text; undefined if this one says nothing. */
function builtFrom(program, { module }) {
  const bytes = readFileSync(program);
  const start = bytes.indexOf(`\nmod\t${module}\t`);
  if (start < 0) return undefined;
  const line = bytes.toString("latin1", start + 1, bytes.indexOf("\n", start + 1));
  return line.split("\t")[2];
}

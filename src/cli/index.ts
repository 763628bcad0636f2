#!/usr/bin/env node
import process from "node:process";
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { main } from "./main.ts";

/** The program of the package, for the command line. */

const { stdin, stdout, stderr } = process;

// Whoever reads the output may have seen enough.
for (const stream of [stdout, stderr]) {
  stream.on("error", (error: { readonly code?: string }) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
}

process.exitCode = await main(process.argv.slice(2), {
  print: (text) => void stdout.write(`${text}\n`),
  show: (...values) => void stdout.write(`${values.map(shown).join("  ")}\n`),
  complain: (text) => void stderr.write(`${text}\n`),
  lines,
  interrupted: () => {
    const controller = new AbortController();
    process.once("SIGINT", () => controller.abort());
    return controller.signal;
  },
});

async function* lines(): AsyncGenerator<string> {
  const isTyped = stdin.isTTY && stdout.isTTY;
  const reader = createInterface({ input: stdin, ...(isTyped ? { output: stdout } : {}) });
  // A line editor keeps the signal to itself.
  reader.on("SIGINT", () => {
    if (!process.emit("SIGINT")) reader.close();
  });
  if (isTyped) reader.prompt();
  for await (const line of reader) {
    yield line;
    if (isTyped) reader.prompt();
  }
}

function shown(value: unknown): string {
  const whole = { depth: null, maxArrayLength: null, maxStringLength: null };
  return inspect(value, { ...whole, breakLength: 120, colors: stdout.isTTY });
}

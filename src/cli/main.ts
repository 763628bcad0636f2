import { KV } from "../index.node.ts";
import { type Command, COMMANDS } from "./commands.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError, wordsOf } from "./words.ts";

/** `foliokv FILE COMMAND ...`: one command. `foliokv FILE`: those that are typed, one a line. Resolves with the exit code. */
export async function main(words: readonly string[], terminal: Terminal): Promise<number> {
  const [file, name, ...rest] = words;
  if (file === undefined || file === "help" || file.startsWith("-")) {
    terminal.print(help());
    return ["help", "--help", "-h"].includes(file) ? 0 : 2;
  }
  try {
    if (name === undefined) return await session(file, terminal);
    const command = commandOf(name);
    checkNumber(name, rest);
    return await withDatabase(file, command.needs, terminal, (db) => command.run(db, rest, terminal));
  } catch (error) {
    terminal.complain(told(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

/** A line that goes wrong is complained of, and the next one is read. */
async function session(file: string, terminal: Terminal): Promise<number> {
  let failed = 0;
  const damaged = await withDatabase(file, "write", terminal, async (db) => {
    for await (const line of terminal.lines()) {
      try {
        const [name, rest = ""] = wordsOf(line, 2);
        if (name === "exit" || name === "close") break;
        if (name === "help") terminal.print(help());
        else if (name !== undefined) await typed(db, name, rest, terminal);
      } catch (error) {
        failed = 1;
        terminal.complain(told(error));
      }
    }
  });
  return Math.max(failed, damaged);
}

async function typed(db: KV, name: string, rest: string, terminal: Terminal): Promise<void> {
  const command = commandOf(name);
  const [least, most] = command.takes;
  // Where there may be any number of words, they are a text, and stay as they are.
  const words = wordsOf(rest, most === Infinity ? least : Infinity);
  checkNumber(name, words);
  await command.run(db, words, terminal);
}

/** Resolves with the exit code: what a damaged file gives is not all that there was. */
async function withDatabase(
  file: string,
  needs: Command["needs"],
  { complain }: Terminal,
  work: (db: KV) => Promise<void>,
): Promise<number> {
  await using db = new KV();
  db.on("error", (error) => complain(told(error)));
  const options = { readOnly: needs === "read", createIfMissing: needs === "create" };
  try {
    await db.open(file, options);
  } catch (error) {
    // Of a file whose header is damaged there is nothing that could be opened before.
    if (needs !== "repair" || !["LedgerDamaged", "NotALedger"].includes(codeOf(error) ?? "")) throw error;
    await db.open(file, { ...options, repair: true });
    complain(`${told(error)}: that was done, what is whole is kept, and the original lies beside it`);
  }
  await work(db);
  return db.stats().damage.length > 0 ? 1 : 0;
}

function commandOf(name: string): Command {
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name];
  throw new UsageError(`there is no command ${name}; "help" lists them`);
}

function checkNumber(name: string, words: readonly string[]): void {
  const { takes, usage } = COMMANDS[name];
  if (words.length < takes[0] || words.length > takes[1]) throw new UsageError(`usage: ${name} ${usage}`);
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { readonly code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}

function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = codeOf(error);
  return code === undefined ? error.message : `${code}: ${error.message}`;
}

function help(): string {
  const commands = Object.entries(COMMANDS).map(
    ([name, { usage, says }]) => `  ${`${name} ${usage}`.padEnd(24)}  ${says}`,
  );
  return [
    "foliokv FILE COMMAND ...   does one thing with the database in this file",
    "foliokv FILE               reads commands, one a line; exit or the end of input ends it",
    "A file that is not there is made by set, and only where that is the COMMAND.",
    "",
    ...commands,
    "",
    'A KEY is a JSON array such as ["users",1], or users.1 for short. A QUERY may have ranges: ["users",{"to":10}].',
  ].join("\n");
}

import { KV } from "../index.node.ts";
import { type Command, COMMANDS } from "./commands.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError, wordsOf } from "./words.ts";

/** `foliokv FILE COMMAND ...`: one command. `foliokv FILE`: those that are typed, one a line. Resolves with the exit code. */
export async function main(words: readonly string[], terminal: Terminal): Promise<number> {
  const [file, name, ...rest] = words;
  if (file === undefined || file === "help" || file.startsWith("-")) {
    terminal.print(help());
    return file === undefined ? 2 : 0;
  }
  try {
    if (name === undefined) return await session(file, terminal);
    const command = commandOf(name, rest);
    const options = { readOnly: command.needs === "read", createIfMissing: command.needs === "create" };
    await withDatabase(file, options, terminal, (db) => command.run(db, rest, terminal));
    return 0;
  } catch (error) {
    terminal.complain(told(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

/** A line that goes wrong is complained of, and the next one is read. */
async function session(file: string, terminal: Terminal): Promise<number> {
  let failed = 0;
  await withDatabase(file, {}, terminal, async (db) => {
    for await (const line of terminal.lines()) {
      try {
        const [name, ...rest] = wordsOf(line);
        if (name === "exit" || name === "close") break;
        if (name === "help") terminal.print(help());
        else if (name !== undefined) await commandOf(name, rest).run(db, rest, terminal);
      } catch (error) {
        failed = 1;
        terminal.complain(told(error));
      }
    }
  });
  return failed;
}

async function withDatabase(
  file: string,
  options: { readonly readOnly?: boolean; readonly createIfMissing?: boolean },
  { complain }: Terminal,
  work: (db: KV) => Promise<void>,
): Promise<void> {
  await using db = new KV();
  db.on("error", (error) => complain(told(error)));
  await db.open(file, options);
  await work(db);
}

function commandOf(name: string, words: readonly string[]): Command {
  if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`there is no command ${name}; "help" lists them`);
  const command = COMMANDS[name];
  const [least, most] = command.takes;
  if (words.length < least || words.length > most) throw new UsageError(`usage: ${name} ${command.usage}`);
  return command;
}

function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? `${code}: ${error.message}` : error.message;
}

function help(): string {
  const commands = Object.entries(COMMANDS).map(
    ([name, { usage, says }]) => `  ${`${name} ${usage}`.padEnd(24)}  ${says}`,
  );
  return [
    "foliokv FILE COMMAND ...   does one thing with the database in this file",
    "foliokv FILE               reads commands, one a line; exit or the end of input ends it",
    "",
    ...commands,
    "",
    'A KEY is a JSON array such as ["users",1], or users.1 for short. A QUERY may have ranges: ["users",{"to":10}].',
  ].join("\n");
}

/** Just enough of a terminal: colours, lines that fit, and a part of the screen that is drawn anew in place. */

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;

export type Style = keyof typeof STYLES;

/** A piece of a line in one style. */
export interface Span {
  readonly text: string;
  readonly style?: Style | undefined;
}

/** Text, or pieces of it. Every character takes one column and one place in the string. */
export type Line = string | readonly (Span | string)[];

const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  readonly #colours: boolean;
  /** True if there is a screen, and it may be drawn on in place. */
  readonly isLive: boolean;
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv) {
    this.#stream = stream;
    this.isLive = stream.isTTY === true && environment.TERM !== "dumb";
    this.#colours = this.isLive && (environment.NO_COLOR ?? "") === "";
    if (this.isLive) stream.on("resize", () => this.#forget());
  }

  get columns(): number {
    return this.isLive ? Math.max(this.#stream.columns, 20) : 100;
  }

  get rows(): number {
    return this.#stream.rows;
  }

  /** Prints lines that stay. */
  print(...lines: readonly Line[]): void {
    this.erase();
    for (const line of lines) this.#stream.write(`${this.#render(line)}\n`);
  }

  /** Draws lines in place of those drawn before. Does nothing where there is no screen. */
  draw(lines: readonly Line[]): void {
    if (!this.isLive) return;
    const shown = lines.slice(0, Math.max(this.rows - 1, 1));
    const up = this.#drawn === 0 ? "" : `\x1b[${this.#drawn}A`;
    const text = shown.map((line) => `${this.#render(line)}${CLEAR_LINE}\n`).join("");
    this.#stream.write(`${HIDE_CURSOR}\r${up}${text}${CLEAR_BELOW}`);
    this.#drawn = shown.length;
  }

  /** Takes away what was drawn. */
  erase(): void {
    if (this.#drawn === 0) return;
    this.#stream.write(`\r\x1b[${this.#drawn}A${CLEAR_BELOW}${SHOW_CURSOR}`);
    this.#drawn = 0;
  }

  /** Leaves what was drawn where it is. */
  keep(): void {
    if (this.isLive) this.#stream.write(SHOW_CURSOR);
    this.#drawn = 0;
  }

  /** A narrower screen breaks lines in two: nobody knows how many there are now. */
  #forget(): void {
    if (this.#drawn === 0) return;
    this.#stream.write("\x1b[H\x1b[2J");
    this.#drawn = 0;
  }

  #render(line: Line): string {
    let room = this.isLive ? this.columns : Infinity;
    let text = "";
    for (const piece of typeof line === "string" ? [line] : line) {
      const span = typeof piece === "string" ? { text: piece } : piece;
      const cut = span.text.slice(0, room);
      room -= cut.length;
      text +=
        this.#colours && span.style !== undefined && cut !== "" ? `\x1b[${STYLES[span.style]}m${cut}\x1b[0m` : cut;
    }
    return text.trimEnd();
  }
}

const BARS = " ▁▂▃▄▅▆▇█";

/** The newest numbers as bars, one column each, the highest possible one being `top`. */
export function bars(numbers: readonly number[], width: number, top: number): string {
  const newest = numbers.slice(-width);
  const drawn = newest.map((each) => BARS[each === 0 ? 0 : Math.max(1, Math.min(8, Math.round((each / top) * 8)))]);
  return drawn.join("").padStart(width);
}

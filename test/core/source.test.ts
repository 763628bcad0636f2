import { expect, it } from "vitest";
import { VALUE_HEADER_BYTES } from "../../src/core/commit.ts";
import type { LedgerSession } from "../../src/core/ledger.ts";
import { Row } from "../../src/core/resolve.ts";
import { Source } from "../../src/core/source.ts";
import { encodeValue } from "../../src/core/value.ts";
import { webEnvironment } from "../../src/platform/environment.ts";

const { crc32 } = webEnvironment;
const value = encodeValue("a value").slice();
const row = new Row(1, 0, 0, 0, false, 0, value.length, 0, undefined);

/** A value behind its checksum, kept by a session that remembers what it is told of it. */
function keeping(): { readonly source: Source; readonly kept: Uint8Array; forget(): void } {
  const kept = new Uint8Array(VALUE_HEADER_BYTES + value.length);
  kept.set(value, VALUE_HEADER_BYTES);
  new DataView(kept.buffer).setUint32(0, crc32(value), true);
  let isKnownWhole = false;
  const session: Pick<LedgerSession, "readValue" | "noteWhole" | "isKnownWhole"> = {
    readValue: () => kept,
    noteWhole: () => void (isKnownWhole = true),
    get isKnownWhole() {
      return isKnownWhole;
    },
  };
  const source = new Source(session as LedgerSession, "ledger", webEnvironment);
  return { source, kept, forget: () => void (isKnownWhole = false) };
}

it("a value is checked again when the session does not know it to be whole any more", () => {
  const { source, kept, forget } = keeping();
  expect(source.value(row)).toBe("a value");
  kept[VALUE_HEADER_BYTES + 1] ^= 1;
  // What is in memory is as it was when it passed: a session that changes it would break its promise.
  expect(source.value(row)).not.toBe("a value");
  forget();
  expect(() => source.value(row)).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
});

it("a value that has failed its check is never noted as whole", () => {
  const { source, kept } = keeping();
  kept[VALUE_HEADER_BYTES + 1] ^= 1;
  for (let i = 0; i < 2; i++)
    expect(() => source.value(row)).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
});

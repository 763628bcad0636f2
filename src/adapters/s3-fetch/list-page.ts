import type { ListedObject } from "../object/object-store.ts";

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

/**
 * The answer to `ListObjectsV2` (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html). Only some runtimes have a parser for XML;
 * of this document four elements matter, none of which has attributes or appears inside another of the same name. Undefined for any other
 * document, also for half of one.
 */
export function parseListPage(xml: string): { readonly objects: ListedObject[]; readonly more: boolean } | undefined {
  if (!xml.includes("<ListBucketResult") || !xml.trimEnd().endsWith("</ListBucketResult>")) return undefined;
  const objects: ListedObject[] = [];
  for (const [, contents] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
    const key = element(contents, "Key");
    const size = Number(element(contents, "Size"));
    if (key === undefined || !Number.isSafeInteger(size)) return undefined;
    const lastModified = Date.parse(element(contents, "LastModified") ?? "");
    objects.push({ key, size, lastModified: Number.isNaN(lastModified) ? undefined : lastModified });
  }
  return { objects, more: element(xml, "IsTruncated") === "true" && objects.length > 0 };
}

/** What an error document says. */
export function parseError(xml: string): { readonly code: string; readonly message: string } {
  return { code: element(xml, "Code") ?? "", message: element(xml, "Message") ?? "" };
}

function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text?.replaceAll(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (whole, decimal, hex, named) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    return ENTITIES[named] ?? whole;
  });
}

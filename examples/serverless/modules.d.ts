/** What the Worker imports besides: a file as text, as wrangler and the bundler of `local.ts` do it, and workerd's own module. */
declare module "*.html" {
  const text: string;
  export default text;
}

declare module "cloudflare:workers" {
  export function waitUntil(promise: Promise<unknown>): void;
}

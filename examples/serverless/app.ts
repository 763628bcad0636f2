import type { KV } from "foliokv";
import { eventStream } from "./event-stream.ts";
import { GuestBook } from "./guest-book.ts";
import { SyncLog } from "./sync-log.ts";

/**
 * The application: the same on both sides, whatever bucket the database lies on. A request in, a response out. `db` has to be open when a request
 * comes in; `page` is the HTML of the one page.
 */
export function makeApp(db: KV, page: string): (request: Request) => Promise<Response> {
  const guestBook = new GuestBook(db);
  const syncLog = new SyncLog(db);

  const routes: Readonly<Record<string, (request: Request) => Response | Promise<Response>>> = {
    "GET /": () => new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } }),

    // Whoever counts at the same time, here or elsewhere: a sum never conflicts, and nothing is counted twice.
    "POST /visits": async () => {
      await db.atomic().sum(["visits"], 1).commit();
      return Response.json({ visits: await db.get(["visits"]) });
    },
    // "strong" asks the bucket first. Without it the answer may be a second old.
    "GET /visits": async () => Response.json({ visits: (await db.get(["visits"], { consistency: "strong" })) ?? 0 }),

    "GET /guest-book": async () => Response.json(await guestBook.newest({ consistency: "strong" })),
    "POST /guest-book": async (request) => Response.json(await guestBook.sign(await request.json()), { status: 201 }),

    // What this instance has asked of the bucket so far, among others.
    "GET /stats": () => Response.json(db.stats()),

    "GET /guest-book/live": (request) => eventStream(request, (signal) => guestBook.live(signal)),
    "GET /syncs/live": (request) => eventStream(request, (signal) => syncLog.live(signal)),
  };

  return async (request) => {
    const route = `${request.method} ${new URL(request.url).pathname}`;
    if (!Object.hasOwn(routes, route)) return Response.json({ error: `There is no ${route}` }, { status: 404 });
    try {
      return await routes[route](request);
    } catch (error) {
      const isTheirs = error instanceof SyntaxError || error instanceof TypeError;
      return Response.json({ error: String(error) }, { status: isTheirs ? 400 : 500 });
    }
  };
}

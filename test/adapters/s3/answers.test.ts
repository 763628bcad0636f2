import { createHash } from "node:crypto";
import { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { s3FetchStore } from "../../../src/adapters/s3-fetch/index.ts";
import { s3Store } from "../../../src/adapters/s3/index.ts";
import { ScriptedServer } from "../../support/scripted-server.ts";

/** What the store makes of every answer that a server can give, over real HTTP, with both clients. */

const credentials = { accessKeyId: "key", secretAccessKey: "secret" };
const base = { bucket: "bucket", prefix: "folder", region: "us-east-1", credentials };
const DATE = "Tue, 14 Nov 2023 22:13:20 GMT";
const TIME = Date.UTC(2023, 10, 14, 22, 13, 20);
const bytes = Uint8Array.of(1, 2, 3);

interface Extra {
  readonly requestTimeoutMs?: number;
  readonly conditionalWrites?: boolean;
  readonly quotedEtags?: boolean;
  readonly tellsTime?: boolean;
}

const clients: Readonly<Record<string, (endpoint: string, extra?: Extra) => ObjectStore>> = {
  s3Store: (endpoint, extra) => s3Store({ ...base, endpoint, ...extra }),
  "s3Store with a client that would repeat": (endpoint, extra) => {
    const client = new S3Client({ endpoint, region: base.region, credentials, forcePathStyle: true, maxAttempts: 5 });
    return s3Store({ bucket: base.bucket, prefix: base.prefix, client, ...extra });
  },
  s3FetchStore: (endpoint, extra) => s3FetchStore({ ...base, endpoint, ...extra }),
};

describe.each(Object.keys(clients))("%s", (name) => {
  const make = clients[name];
  let server: ScriptedServer;
  let store: ObjectStore;
  beforeEach(async () => {
    server = await new ScriptedServer().listen();
    store = make(server.endpoint);
  });
  afterEach(() => server[Symbol.asyncDispose]());

  describe("a create", () => {
    test.each([
      [200, "", "created", undefined],
      [412, "PreconditionFailed", "exists", undefined],
      [409, "ConditionalRequestConflict", "conflict", undefined],
      [429, "TooManyRequests", "conflict", undefined],
      [500, "InternalError", "ambiguous", "InputOutput"],
      [502, "", "ambiguous", "InputOutput"],
      [503, "SlowDown", "ambiguous", "InputOutput"],
      [507, "XMinioStorageFull", "ambiguous", "NoSpace"],
      [408, "", "ambiguous", "InputOutput"],
      [400, "RequestTimeout", "ambiguous", "InputOutput"],
      [400, "BadDigest", "ambiguous", "InputOutput"],
      [403, "AccessDenied", "denied", "AccessDenied"],
      [403, "SignatureDoesNotMatch", "denied", "AccessDenied"],
      [403, "RequestTimeTooSkewed", "denied", "AccessDenied"],
      [401, "Unauthorized", "denied", "AccessDenied"],
      [400, "ExpiredToken", "denied", "AccessDenied"],
      [404, "NoSuchBucket", "refused", "LedgerMissing"],
      [404, "", "refused", "InputOutput"],
      [404, "XAdminUserNotFound", "denied", "AccessDenied"],
      [301, "PermanentRedirect", "refused", "InvalidOption"],
      [400, "AuthorizationHeaderMalformed", "refused", "InvalidOption"],
      [400, "InvalidBucketName", "refused", "InvalidOption"],
      [501, "NotImplemented", "refused", "StoreUnsuitable"],
      [405, "MethodNotAllowed", "refused", "InputOutput"],
    ])("that is answered %s %s is %s %s, after one request", async (status, code, expected, error) => {
      server.fail(status, code, { date: DATE, etag: '"tag"' });
      const answer = await store.create("key", bytes);

      expect(answer).toMatchObject({ status: expected, time: TIME });
      if (error !== undefined) expect(answer).toMatchObject({ error: { code: error } });
      expect(server.requests).toHaveLength(1);
    });
  });

  describe("a replace", () => {
    test.each([
      [200, "", "replaced"],
      [412, "PreconditionFailed", "changed"],
      [404, "NoSuchKey", "changed"],
      [404, "NoSuchBucket", "refused"],
      [404, "", "refused"],
      [404, "XAdminUserNotFound", "denied"],
      [409, "ConditionalRequestConflict", "conflict"],
      [500, "InternalError", "ambiguous"],
      [403, "AccessDenied", "denied"],
    ])("that is answered %s %s is %s, after one request", async (status, code, expected) => {
      server.fail(status, code, { etag: '"tag"' });

      expect((await store.replace("key", bytes, '"old"')).status).toBe(expected);
      expect(server.requests).toHaveLength(1);
    });
  });

  describe("reads and deletes", () => {
    test.each([
      [404, "NoSuchKey", "absent", "unavailable", "deleted"],
      [404, "", "unavailable", "unavailable", "unavailable"],
      [404, "SomethingElse", "unavailable", "unavailable", "unavailable"],
      [404, "XAdminUserNotFound", "denied", "denied", "denied"],
      [404, "NoSuchBucket", "refused", "refused", "refused"],
      [403, "AccessDenied", "denied", "denied", "denied"],
      [403, "RequestTimeTooSkewed", "unavailable", "unavailable", "unavailable"],
      [429, "TooManyRequests", "unavailable", "unavailable", "unavailable"],
      [500, "InternalError", "unavailable", "unavailable", "unavailable"],
      [503, "SlowDown", "unavailable", "unavailable", "unavailable"],
      [301, "PermanentRedirect", "refused", "refused", "refused"],
    ])("that are answered %s %s are %s, %s, %s, after one request each", async (status, code, get, list, remove) => {
      server.fail(status, code);
      const answers = [await store.get("key"), await store.list(""), await store.delete(["key"])];

      expect(answers.map((each) => each.status)).toEqual([get, list, remove]);
      expect(server.requests).toHaveLength(3);
    });

    test("tell the store's time, etag and time of writing", async () => {
      const headers = { date: DATE, etag: '"tag"', "last-modified": DATE };
      server.answer(200, headers, bytes);

      expect(await store.get("key")).toMatchObject({
        status: "found",
        bytes,
        size: 3,
        etag: '"tag"',
        lastModified: TIME,
      });
      expect((await store.get("key")).time).toBe(TIME);
      expect((await make(server.endpoint, { tellsTime: false }).get("key")).time).toBeUndefined();
      server.answer(200, { etag: '"tag"' }, bytes);
      expect((await store.get("key")).time).toBeUndefined();
    });

    test("that come from a cache are StoreInconsistent", async () => {
      const cached = { status: "refused", error: { code: "StoreInconsistent" } };
      server.answer(200, { etag: '"tag"', age: "5" }, bytes);
      expect(await store.get("key")).toMatchObject(cached);
      server.fail(404, "NoSuchKey", { age: "1" });
      expect(await store.get("key")).toMatchObject(cached);
      server.answer(200, { etag: '"tag"', age: "0" }, bytes);
      expect((await store.get("key")).status).toBe("found");
    });

    test("of parts are not satisfied with others", async () => {
      const range = { from: 10, length: 3 };
      const headers = { etag: '"tag"', "content-range": "bytes 10-12/20" };
      server.answer(206, headers, bytes);
      expect(await store.get("key", range)).toMatchObject({ status: "found", size: 20, bytes });
      expect(server.requests[0].headers.range).toBe("bytes=10-12");
      server.answer(206, headers, bytes.subarray(1));
      expect((await store.get("key", range)).status).toBe("unavailable");
      server.answer(206, { ...headers, "content-range": "bytes 0-2/20" }, bytes);
      expect(await store.get("key", range)).toMatchObject({ status: "refused", error: { code: "StoreUnsuitable" } });
      server.answer(200, headers, bytes);
      expect(await store.get("key", range)).toMatchObject({ status: "refused", error: { code: "StoreUnsuitable" } });
      server.fail(416, "InvalidRange");
      expect((await store.get("key", range)).status).toBe("beyond");
    });

    test("of half a body are unavailable", async () => {
      server.script = (response) => {
        response.writeHead(200, { etag: '"tag"', "content-length": "6" });
        response.write(bytes, () => response.destroy());
      };
      expect((await store.get("key")).status).toBe("unavailable");
      expect((await store.list("")).status).toBe("unavailable");
      expect(server.requests).toHaveLength(2);
    });

    test("without an etag are refused: it is no store of this kind that answers", async () => {
      server.answer(200, {}, bytes);
      expect(await store.get("key")).toMatchObject({ status: "refused", error: { code: "InputOutput" } });
    });

    test("of a list that is none are unavailable", async () => {
      server.answer(200, {}, "<ListBucketResult><IsTruncated>false</IsTrunc");
      expect((await store.list("")).status).toBe("unavailable");
    });
  });

  test.each([
    [301, ""],
    [307, "TemporaryRedirect"],
    [400, "AuthorizationHeaderMalformed"],
    [400, "IllegalLocationConstraintException"],
  ])("an answer from the wrong place, %s %s, names the right region, and is not followed", async (status, code) => {
    await using elsewhere = await new ScriptedServer().listen();
    elsewhere.answer(200, { etag: '"tag"' }, bytes);
    const location = `${elsewhere.endpoint}/bucket/folder/key`;
    server.fail(status, code, { "x-amz-bucket-region": "eu-north-1", location });
    for (const answer of [
      await store.create("key", bytes),
      await store.replace("key", bytes, '"old"'),
      await store.get("key"),
      await store.list(""),
      await store.delete(["key"]),
    ]) {
      expect(answer).toMatchObject({ status: "refused", error: { code: "InvalidOption" } });
      expect((answer as { error: Error }).error.message).toContain("eu-north-1");
    }
    expect(server.requests).toHaveLength(5);
    expect(elsewhere.requests).toEqual([]);
  });

  describe("without an answer", () => {
    test("a write whose connection is cut after it has landed is ambiguous, and not repeated", async () => {
      server.script = (response) => response.destroy();

      expect((await store.create("key", bytes)).status).toBe("ambiguous");
      expect((await store.replace("key", bytes, '"old"')).status).toBe("ambiguous");
      expect(server.requests.map(({ body }) => [...body])).toEqual([
        [1, 2, 3],
        [1, 2, 3],
      ]);
    });

    test("requests end when their time is over", async () => {
      const hasty = make(server.endpoint, { requestTimeoutMs: 100 });
      server.script = () => undefined;
      expect((await hasty.create("key", bytes)).status).toBe("ambiguous");
      expect((await hasty.get("key")).status).toBe("unavailable");
      server.script = (response) => {
        response.writeHead(200, { etag: '"tag"', "content-length": "6" });
        response.write(bytes);
      };
      expect((await hasty.get("key")).status).toBe("unavailable");
      // On a slow machine the time is over before anything was sent.
      expect(server.requests.length).toBeLessThanOrEqual(3);
    });

    test("nobody listening is ambiguous for a write, and unavailable for a read", async () => {
      const gone = await new ScriptedServer().listen();
      const nowhere = make(gone.endpoint);
      await gone[Symbol.asyncDispose]();
      expect((await nowhere.create("key", bytes)).status).toBe("ambiguous");
      expect((await nowhere.get("key")).status).toBe("unavailable");
    });
  });

  describe("what is sent", () => {
    beforeEach(() => server.answer(200, { etag: '"tag"' }, bytes));

    test("has its condition, its bytes, and asks nobody to continue", async () => {
      const large = new Uint8Array(3_000_000).fill(7);
      await store.create("a/key", large);
      await store.replace("a/key", bytes, '"old"');
      const [create, replace] = server.requests;

      expect(create.url.split("?")[0]).toBe("/bucket/folder/a/key");
      expect(create.headers).toMatchObject({ "if-none-match": "*", "content-length": "3000000" });
      expect(create.headers.expect).toBeUndefined();
      expect(create.body.equals(large)).toBe(true);
      expect(replace.headers).toMatchObject({ "if-match": '"old"' });
      expect([...replace.body]).toEqual([1, 2, 3]);
    });

    test("wants no answer of a cache, and no cache to keep what was written", async () => {
      await store.get("key");
      await store.list("");
      await store.create("key", bytes);
      expect(server.requests.map(({ headers }) => headers["cache-control"])).toEqual([
        "no-store",
        "no-store",
        "no-store",
      ]);
    });

    test("is signed with its body, and wants nothing compressed", async () => {
      await store.create("key", bytes);
      await store.get("key");
      const hash = createHash("sha256").update(bytes).digest("hex");
      expect(server.requests[0].headers["x-amz-content-sha256"]).toBe(hash);
      for (const { headers } of server.requests) expect(headers["accept-encoding"] ?? "identity").toBe("identity");
    });

    // A client of one's own has the settings that it has.
    if (!name.includes("client"))
      test("has no checksum that a store may not know, and asks for none", async () => {
        await store.create("key", bytes);
        await store.replace("key", bytes, '"old"');
        await store.get("key");
        await store.delete(["key"]);
        for (const { url, headers } of server.requests) {
          expect(Object.keys(headers).filter((name) => /checksum|trailer|^content-encoding$/.test(name))).toEqual([]);
          expect(url).not.toContain("checksum");
        }
      });

    test("has an etag without quotes for a store that wants none", async () => {
      const plain = make(server.endpoint, { quotedEtags: false });
      await plain.replace("key", bytes, '"old"');
      await plain.create("key", bytes);

      expect(server.requests.map(({ headers }) => [headers["if-match"], headers["if-none-match"]])).toEqual([
        ["old", undefined],
        [undefined, "*"],
      ]);
    });

    test("has no condition for a store that knows none", async () => {
      const plain = make(server.endpoint, { conditionalWrites: false });
      await plain.create("key", bytes);
      await plain.replace("key", bytes, '"old"');

      expect(plain.capabilities).toMatchObject({ create: false, replace: false });
      for (const { headers } of server.requests) {
        expect([headers["if-none-match"], headers["if-match"]]).toEqual([undefined, undefined]);
      }
    });
  });
});

test("s3Store makes one request, whatever the strategy of a client thinks of that", async () => {
  await using server = await new ScriptedServer().listen();
  let asked = 0;
  const token = { getRetryCount: () => asked, getRetryDelay: () => 0 };
  const retryStrategy = {
    acquireInitialRetryToken: async () => token,
    refreshRetryTokenForRetry: async () => {
      if (++asked > 5) throw new Error("enough");
      return token;
    },
    recordSuccess: () => undefined,
  };
  const client = new S3Client({ ...base, endpoint: server.endpoint, forcePathStyle: true, retryStrategy });
  server.fail(503, "SlowDown");
  expect(await s3Store({ bucket: base.bucket, prefix: base.prefix, client }).create("key", bytes)).toMatchObject({
    status: "ambiguous",
  });
  expect(server.requests).toHaveLength(1);
});

test("s3FetchStore takes no half of a body for all of it, though whoever sends its requests does", async () => {
  const response = (): Response => new Response(bytes, { headers: { etag: '"tag"', "content-length": "6" } });
  const store = s3FetchStore({ ...base, endpoint: "http://127.0.0.1:1", fetch: async () => response() });
  expect((await store.get("key")).status).toBe("unavailable");
});

test("s3Store signs with the store's time once it has been told that its own is wrong", async () => {
  await using server = await new ScriptedServer().listen();
  const client = new S3Client({ endpoint: server.endpoint, region: base.region, credentials, forcePathStyle: true });
  const store = s3Store({ bucket: base.bucket, prefix: base.prefix, client });
  server.fail(403, "RequestTimeTooSkewed", { date: DATE });
  expect((await store.get("key")).status).toBe("unavailable");
  server.answer(200, { etag: '"tag"' }, bytes);

  expect((await store.get("key")).status).toBe("found");
  expect(server.requests[1].headers["x-amz-date"]).toMatch(/^20231114T22/);
});

describe("a credential that cannot be had", () => {
  const failing = async (): Promise<never> => {
    const error = new Error("no credential");
    error.name = "CredentialsProviderError";
    throw error;
  };
  const hanging = (): Promise<never> => new Promise(() => undefined);

  test.each([
    ["s3Store", (endpoint: string) => s3Store({ ...base, endpoint, credentials: failing })],
    ["s3FetchStore", (endpoint: string) => s3FetchStore({ ...base, endpoint, credentials: failing })],
  ])("is denied to a write of %s, and nothing was sent", async (_name, make) => {
    await using server = await new ScriptedServer().listen();
    const answer = await make(server.endpoint).create("key", bytes);

    expect(answer).toMatchObject({ status: "denied", error: { code: "AccessDenied" } });
    expect(server.requests).toEqual([]);
  });

  test("is denied whatever its provider calls the reason, which is told", async () => {
    await using server = await new ScriptedServer().listen();
    const reason = new Error("the vault is closed");
    const provider = async (): Promise<never> => {
      throw reason;
    };
    const options = { ...base, endpoint: server.endpoint, credentials: provider };
    for (const store of [s3Store(options), s3FetchStore(options)]) {
      for (const answer of [await store.get("key"), await store.create("key", bytes)]) {
        expect(answer).toMatchObject({ status: "denied", error: { code: "AccessDenied", cause: reason } });
        expect((answer as { error: Error }).error.message).toContain(reason.message);
      }
    }
    expect(server.requests).toEqual([]);
  });

  test("is not what is wrong where the client knows no region", async () => {
    const region = async (): Promise<never> => {
      throw new Error("Region is missing");
    };
    const store = s3Store({ bucket: "bucket", prefix: "a", client: new S3Client({ region, credentials }) });
    for (const answer of [await store.get("key"), await store.create("key", bytes)]) {
      expect(answer).toMatchObject({ status: "refused", error: { code: "InvalidOption" } });
    }
  });

  test.each([
    ["s3Store", (endpoint: string) => s3Store({ ...base, endpoint, credentials: hanging, requestTimeoutMs: 20 })],
    [
      "s3FetchStore",
      (endpoint: string) => s3FetchStore({ ...base, endpoint, credentials: hanging, requestTimeoutMs: 20 }),
    ],
  ])("in time is nothing that is certain, for %s", async (_name, make) => {
    await using server = await new ScriptedServer().listen();
    const store = make(server.endpoint);

    expect((await store.create("key", bytes)).status).toBe("ambiguous");
    expect((await store.get("key")).status).toBe("unavailable");
    expect(server.requests).toEqual([]);
  });

  test("is asked for before every request of s3FetchStore", async () => {
    await using server = await new ScriptedServer().listen();
    server.answer(200, { etag: '"tag"' }, bytes);
    let turn = 0;
    const store = s3FetchStore({
      ...base,
      endpoint: server.endpoint,
      credentials: async () => ({ ...credentials, accessKeyId: `key-${++turn}`, sessionToken: `token-${turn}` }),
    });
    await store.get("key");
    await store.get("key");

    expect(server.requests.map(({ headers }) => headers["x-amz-security-token"])).toEqual(["token-1", "token-2"]);
    expect(server.requests[1].headers.authorization).toContain("Credential=key-2/");
  });
});

describe("options", () => {
  const endpoint = "http://127.0.0.1:1";
  const client = new S3Client({ region: "us-east-1", credentials });

  test.each([
    ["a bucket that is none", { ...base, endpoint, bucket: "a/b" }],
    ["a prefix that some client changes", { ...base, endpoint, prefix: "a/../b" }],
    ["no prefix", { ...base, endpoint, prefix: "" }],
    ["an endpoint that is no address", { ...base, endpoint: "127.0.0.1:1" }],
    ["an option that there is not", { ...base, endpoint, retries: 3 }],
    ["no time", { ...base, endpoint, requestTimeoutMs: 0 }],
    ["no requests at once", { ...base, endpoint, parallel: 0 }],
    ["a condition that is no boolean", { ...base, endpoint, conditionalWrites: "no" as unknown as boolean }],
  ])("with %s are refused", (_name, options) => {
    for (const make of [s3Store, s3FetchStore] as ((given: typeof options) => ObjectStore)[]) {
      expect(() => make(options)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
    }
  });

  test("that belong to the client are refused beside one", () => {
    expect(() => s3Store({ bucket: "bucket", prefix: "a", client, region: "eu-west-1" })).toThrow(
      expect.objectContaining({ code: "InvalidOption" }),
    );
  });

  test("name the place where s3FetchStore finds a bucket", async () => {
    const asked: string[] = [];
    const fetch = async (request: Request): Promise<Response> => {
      asked.push(request.url);
      return new Response(null, { status: 404 });
    };
    const places = [
      { region: "eu-west-1" },
      { region: "eu-west-1", bucket: "with.dots" },
      { endpoint: "https://host:9000/" },
      { endpoint: "https://host", forcePathStyle: false },
    ];
    for (const place of places)
      await s3FetchStore({ bucket: "bucket", prefix: "a", credentials, fetch, ...place }).get("k");

    expect(asked).toEqual([
      "https://bucket.s3.eu-west-1.amazonaws.com/a/k",
      "https://s3.eu-west-1.amazonaws.com/with.dots/a/k",
      "https://host:9000/bucket/a/k",
      "https://bucket.host/a/k",
    ]);
    expect(() => s3FetchStore({ bucket: "bucket", prefix: "a", credentials })).toThrow(
      expect.objectContaining({ code: "InvalidOption" }),
    );
  });
});

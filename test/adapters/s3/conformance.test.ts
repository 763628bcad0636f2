import { afterAll, describe, test } from "vitest";
import { s3Store } from "../../../src/adapters/s3/index.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { objectStoreConformance } from "../../../src/testing/object-store-conformance.ts";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

describe(`the store of s3Store, on ${server.name}`, () => {
  objectStoreConformance({
    test,
    environment: nodeEnvironment,
    create: async () => {
      const { bucket, endpoint, region, credentials, tellsTime, quotedEtags } = server;
      const prefix = freshPrefix();
      const make = (folder: string) =>
        s3Store({ bucket, prefix: folder, endpoint, region, credentials, tellsTime, quotedEtags });
      return {
        store: make(prefix),
        other: make(prefix),
        neighbour: make(`${prefix}-2`),
        dispose: async () => undefined,
      };
    },
  });
});

import { bucketDefects } from "./bucket-defects.ts";
import { testDefects } from "./teeth.ts";

// Most are found within the first ten.
testDefects(bucketDefects, { seedsMax: 600, options: ["--bucket"] });

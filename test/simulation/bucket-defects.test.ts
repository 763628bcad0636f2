import { bucketDefects } from "./bucket-defects.ts";
import { testDefects } from "./teeth.ts";

testDefects(bucketDefects, { seedsMax: 300, options: ["--bucket"] });

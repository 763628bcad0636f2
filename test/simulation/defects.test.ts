import { defects } from "./defects.ts";
import { testDefects } from "./teeth.ts";

// Most are found within the first ten.
testDefects(defects, { seedsMax: 1000 });

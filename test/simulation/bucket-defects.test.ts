import { bucketDefects } from "./bucket-defects.ts";
import { testDefects } from "./teeth.ts";

// Most are found within the first ten. "An earlier root confirms for good" takes one whose create is held up while floor and garbage collection pass it by, and
// shows in one seed of a hundred or two: which, changes with every draw in the code under test.
testDefects(bucketDefects, { seedsMax: 600, options: ["--bucket"] });

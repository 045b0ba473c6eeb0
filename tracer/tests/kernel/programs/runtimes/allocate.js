// Allocates outside of V8's heap, through functions that V8 compiles. Says "ready", waits, says "done", waits.
"use strict";
const SIZE = 1234568;

function leafWork() {
  return Buffer.allocUnsafeSlow(SIZE).length;
}

function tick() {
  let sum = 0;
  for (let i = 0; i < 10; i++) sum += leafWork();
  return sum;
}

function rounds(left, after) {
  tick();
  if (left > 0) setImmediate(rounds, left - 1, after);
  else after();
}

// Most of the compiling happens before.
rounds(500, () => {
  process.stdout.write("ready\n");
  process.stdin.once("data", () => {
    rounds(200, () => process.stdout.write("done\n"));
    process.stdin.once("data", () => process.exit(0));
  });
});

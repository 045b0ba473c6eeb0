// Allocates in node's own code by many ways, from many stacks: buffers, JSON, compression, regular expressions, code
// compiled at run time.
const zlib = require('zlib'), crypto = require('crypto'), vm = require('vm');
let kept = [], round = 0;
const steps = [
    () => { kept.push(Buffer.allocUnsafeSlow(1000 + round % 100)); if (kept.length > 500) kept.splice(0, 250); },
    () => JSON.parse(JSON.stringify({ a: [1, 2, round], b: { c: 'x'.repeat(round % 50) } })),
    () => new Map(Object.entries({ ['key' + round % 100]: round })).get('key1'),
    () => zlib.deflateSync(Buffer.from('abc'.repeat(100))),
    () => crypto.createHash('sha256').update(String(round)).digest('hex'),
    () => new vm.Script('(a => a + ' + round % 1000 + ')').runInThisContext()(1),
    () => new RegExp('(a|b' + round % 1000 + ')+c?').exec('ab'.repeat(20)),
];
function left(depth) { return down(depth) + 1; }
function right(depth) { return down(depth) + 2; }
function middle(depth) { return down(depth) + 3; }
function down(depth) {
    if (depth === 0) { round++; steps[round % steps.length](); return 0; }
    return [left, right, middle][Math.floor(Math.random() * 3)](depth - 1);
}
function work() {
    for (let i = 0; i < 100; i++) down(5);
    setImmediate(work);
}
work();

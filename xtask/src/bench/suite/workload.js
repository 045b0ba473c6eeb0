// Allocates in node's own code by many ways: buffers, JSON, compression, regular expressions, code compiled at run time.
const zlib = require('zlib'), crypto = require('crypto'), vm = require('vm');
let kept = [], round = 0;
function work() {
    round++;
    for (let i = 0; i < 100; i++) {
        kept.push(Buffer.allocUnsafeSlow(1000 + i));
        if (kept.length > 500) kept.splice(0, 250);
        JSON.parse(JSON.stringify({ a: [1, 2, i], b: { c: 'x'.repeat(i) }, round }));
        new Map(Object.entries({ ['key' + i]: round })).forEach((value, key) => key + value);
    }
    zlib.deflateSync(Buffer.from('abc'.repeat(1000)));
    crypto.createHash('sha256').update(String(round)).digest('hex');
    new vm.Script('(a' + round + ') => a' + round + ' + ' + round).runInThisContext()(1);
    new RegExp('(a|b' + round + ')+c?').exec('ab'.repeat(20) + round);
    'text'.replace(new RegExp('t' + (round % 7), 'g'), 'y');
    setImmediate(work);
}
work();

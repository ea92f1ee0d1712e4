// The module that the Functions Framework loads: the function that framework.mjs has found, by its name.
const called = globalThis[Symbol.for('gitd.function')];
if (called) {
	const parts = process.env.FUNCTION_TARGET.split('.');
	module.exports = parts.reduceRight((at, part) => ({ [part]: at }), called);
}

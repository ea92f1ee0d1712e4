// Serves a function by the Functions Framework: the app's own version of it, or the one beside this file. The module is loaded first, so that what is wrong
// with it is told in its own words; the framework gets the function by load.cjs.
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { exported, fail, library, load, member, option, takeEvents } from './common.mjs';

const source = option('source');
const target = option('target');
const signature = option('signature') || 'http';
const main = path.join(path.dirname(library('@google-cloud/functions-framework')), 'main.js');

process.env.FUNCTION_TARGET ??= target;
process.env.FUNCTION_SIGNATURE_TYPE ??= signature;
if (signature !== 'http') takeEvents(signature);

const module = await load(source);
if (!registered()) {
	const called = member(module, target);
	if (typeof called !== 'function') fail(`${source} has no function ${target}: ${exported(module)}`);
	globalThis[Symbol.for('gitd.function')] = called;
}
process.argv = [process.argv[0], main, `--source=${fileURLToPath(new URL('load.cjs', import.meta.url))}`, `--target=${target}`, `--signature-type=${signature}`];
createRequire(main)(main);

// registered tells whether the module has given the function to the framework by itself.
function registered() {
	try {
		return Boolean(createRequire(main)('./function_registry.js').getRegisteredFunction(target));
	} catch {
		return false; // a version without a registry
	}
}

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
if (signature !== 'http') takeEvents({ only: true, legacy: true, binary: signature === 'event' });

const module = await load(source);
const registered = registry()?.getRegisteredFunction(target);
if (!registered) {
	const called = member(module, target);
	if (typeof called !== 'function') fail(`${source} has no function ${target}: ${exported(module)}`);
	globalThis[Symbol.for('gitd.function')] = signature === 'cloudevent' ? withData(called) : called;
} else if (registered.signatureType === 'cloudevent') {
	registry().cloudEvent(target, withData(registered.userFunction));
}
process.argv = [process.argv[0], main, `--source=${fileURLToPath(new URL('load.cjs', import.meta.url))}`, `--target=${target}`, `--signature-type=${signature}`];
createRequire(main)(main);

// registry has the functions that the module has given to the framework by itself.
function registry() {
	try {
		return createRequire(main)('./function_registry.js');
	} catch {
		return undefined; // a version without one
	}
}

// withData gives a function of CloudEvents data that is no text as bytes, and not in base64.
function withData(called) {
	const wrapped = (event, ...rest) => {
		if (typeof event?.data_base64 === 'string') {
			event.data = Buffer.from(event.data_base64, 'base64');
			delete event.data_base64;
		}
		return called(event, ...rest);
	};
	return Object.defineProperty(wrapped, 'length', { value: called.length }); // by which the framework knows one with a callback
}
